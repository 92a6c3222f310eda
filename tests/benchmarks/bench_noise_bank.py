"""Noise banks: cost of a draw against `torch.randn`, memory of reading 2 GB, certificates on 10^7 bits.

    python tests/benchmarks/bench_noise_bank.py [--large] [--certificates] [--out results.json]

Medians of interleaved repeats on one thread.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qhybrid.config import NoiseConfig, SimulatedNoiseConfig
from qhybrid.diffusion.bank import Bank, BankRecord, write_bank
from qhybrid.diffusion.making import make_bank
from qhybrid.diffusion.noise import NoiseSource
from qhybrid.diffusion.sources import open_source
from qhybrid.files import write_json
from qhybrid.seeds import Stream

SHAPE = (64, 1, 28, 28)
REPEATS = 300
BITS = 10_000_000


def draw_cost(folder: Path) -> dict[str, float]:
    """Microseconds of a batch from `torch.randn` and from banks of integers and of fluctuations."""
    rng = np.random.default_rng(0)
    integers = rng.integers(0, 2**16, 20_000_000, dtype=np.uint16)
    bits = BankRecord("bits", "quantum_bits", integers.shape, {"resolution": 16}, {"backend": "test"}, "")
    write_bank(folder / "bits.npz", bits, [integers])
    values = rng.standard_normal((1_250_000, 16), dtype=np.float32)
    law = {"shots": 64, "patch": [4, 4], "mean": [0.0] * 16, "deviation": [1.0] * 16}
    fluctuations = BankRecord("values", "quantum_intrinsic", values.shape, law, {"backend": "test"}, "")
    write_bank(folder / "values.npz", fluctuations, [values])

    def source(kind: str, name: str) -> NoiseSource:
        return open_source(NoiseConfig(source=kind, bank=str(folder / f"{name}.npz"), accept=[name]), "forward", 1000)

    integer_source, value_source = source("quantum_bits", "bits"), source("quantum_intrinsic", "values")
    ways = {
        "torch.randn": lambda step: torch.randn(SHAPE),
        "quantum_bits": lambda step: integer_source.draw(Stream("training", 0, step), SHAPE),
        "quantum_intrinsic": lambda step: value_source.draw(Stream("training", 0, step), SHAPE),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for step in range(REPEATS):
        for name, draw in ways.items():
            start = time.perf_counter()
            draw(step)
            seconds[name].append(time.perf_counter() - start)
    return {name: 1e6 * statistics.median(values) for name, values in seconds.items()}


def resident_memory(folder: Path) -> dict[str, float]:
    """MB that reading a bank of 2 GB adds to this process, at most; and GB/s."""
    numbers = 1 << 30
    record = BankRecord("large", "gaussian", (numbers,), {"resolution": 16}, {"backend": "test"}, "")
    piece = np.random.default_rng(0).integers(0, 2**16, 1 << 24, dtype=np.uint16)
    write_bank(folder / "large.npz", record, (piece for _ in range(64)))
    bank = Bank(folder / "large.npz")
    before, most, start = resident(), 0.0, time.perf_counter()
    for position in range(0, numbers, 1 << 20):
        bank.normals(position, 1 << 20)
        most = max(most, resident() - before)
    seconds = time.perf_counter() - start
    return {"file_gb": 2 * numbers / 1e9, "added_mb": most, "gb_per_second": 2 * numbers / 1e9 / seconds}


def resident() -> float:
    """Resident memory of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def certificates(folder: Path) -> dict[str, Any]:
    """Each source's certificate on a fresh bank of 10^7 bits."""
    cases = {
        "gaussian (PCG64)": ("gaussian", SimulatedNoiseConfig()),
        "quantum_bits, aer, von Neumann": ("quantum_bits", SimulatedNoiseConfig()),
        "quantum_bits, fake_torino, Toeplitz": (
            "quantum_bits",
            SimulatedNoiseConfig(device="fake_torino", extractor="toeplitz"),
        ),
        "quantum_intrinsic, aer": ("quantum_intrinsic", SimulatedNoiseConfig()),
        "quantum_intrinsic, fake_torino": ("quantum_intrinsic", SimulatedNoiseConfig(device="fake_torino")),
    }
    found = {}
    for name, (source, settings) in cases.items():
        bits_per_number = settings.resolution if source != "quantum_intrinsic" else settings.shots
        certificate = make_bank(folder / "bank.npz", source, settings, BITS // bits_per_number)
        found[name] = certificate.to_dict()
        print(f"{name}: {certificate.numbers:,} numbers, failed: {', '.join(certificate.failed) or 'nothing'}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="write and read a bank of 2 GB")
    parser.add_argument("--certificates", action="store_true", help="make and certify banks of 10^7 bits")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"threads": 1, "shape": SHAPE}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result["microseconds"] = cost = draw_cost(folder)
        for way, value in cost.items():
            print(f"{way}: {value:.0f} us, {value / cost['torch.randn']:.2f} times torch.randn")
        if given.large:
            result["memory"] = resident_memory(folder)
            print(result["memory"])
        if given.certificates:
            result["certificates"] = certificates(folder)
    if given.out is not None:
        write_json(given.out, result)


if __name__ == "__main__":
    main()
