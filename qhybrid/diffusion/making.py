"""Write and certify banks of simulated, pseudo-random or measured noise."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qhybrid.config import SimulatedNoiseConfig
from qhybrid.config.noise import QUANTUM_SOURCES
from qhybrid.diffusion.bank import Bank, BankRecord, locked_record, write_bank, write_record
from qhybrid.diffusion.bits import min_entropy
from qhybrid.diffusion.certify import LEAST_BITS, LEAST_EVALUATIONS, Certificate, certify_bank
from qhybrid.diffusion.errors import NoiseError
from qhybrid.diffusion.simulate import SimulatedBits, SimulatedFluctuations
from qhybrid.progress import Advance, progress
from qhybrid.seeds import Stream

_CHUNK = 1 << 16


def make_bank(
    path: Path, source: str, config: SimulatedNoiseConfig, numbers: int, *, seed: int = 0, name: str | None = None
) -> Certificate:
    """Simulate a bank, write it, certify it.

    Args:
        path: The npz file to be written.
        source: `quantum_bits`, `quantum_intrinsic`, or `gaussian`: pseudo-random integers of the same law.
        config: Device, qubits, shots, resolution, extractor.
        numbers: Noise values wanted; rounded up to whole patches.
        seed: Seed of the simulation.
        name: Name of the bank; by default `<file>-<seed>`.

    Raises:
        NoiseError: Wrong file name, a source that no bank is made of, or too few numbers for a certificate.
    """
    if path.suffix != ".npz":
        raise NoiseError(f"a bank is an npz file, found `{path}`: call it `{path.with_suffix('.npz')}`")
    if source not in (*QUANTUM_SOURCES, "gaussian"):
        raise NoiseError(f"a bank is made of gaussian, {' or '.join(QUANTUM_SOURCES)}, found `{source}`")
    if source != "quantum_intrinsic" and numbers * config.resolution < LEAST_BITS:
        least = -(-LEAST_BITS // config.resolution)
        raise NoiseError(
            f"{numbers:,} numbers of {config.resolution} bits are too few for a certificate: make at least {least:,}"
        )
    if source == "quantum_intrinsic" and -(-numbers // config.qubits) < LEAST_EVALUATIONS:
        least = (LEAST_EVALUATIONS - 1) * config.qubits + 1
        raise NoiseError(
            f"{numbers:,} numbers of a patch of {config.qubits} pixels are too few for a certificate, which needs "
            f"{LEAST_EVALUATIONS:,} evaluations: make at least {least:,}"
        )
    provenance: dict[str, Any] = {"date": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "seed": seed}
    record = BankRecord(name or f"{path.stem}-{seed}", source, (numbers,), {}, provenance, "")
    with progress("noise", numbers) as advance:
        if source == "gaussian":
            record = replace(
                record, law={"resolution": config.resolution}, provenance=provenance | {"backend": "PCG64"}
            )
            write_bank(path, record, _pseudo_random(numbers, config.resolution, seed, advance))
        elif source == "quantum_bits":
            _make_bits(path, record, config, seed, advance)
        elif source == "quantum_intrinsic":
            _make_fluctuations(path, record, config, seed, advance)
    return certify(path)


def certify(path: Path) -> Certificate:
    """Test a bank and write the certificate into its record."""
    certificate = certify_bank(Bank(path))
    with locked_record(path) as record:
        write_record(path, replace(record, certificate=certificate.to_dict()))
    return certificate


def _make_bits(path: Path, record: BankRecord, config: SimulatedNoiseConfig, seed: int, advance: Advance) -> None:
    source = SimulatedBits(config)
    raw = source.circuit.shots(Stream("bank", seed), _CHUNK)
    provenance = record.provenance | source.circuit.provenance()
    provenance["raw_bias"] = (raw.mean(axis=0) - 0.5).tolist()
    provenance["raw_min_entropy_per_bit"] = min_entropy(raw)
    provenance["extractor"] = config.extractor
    record = replace(record, law={"resolution": config.resolution}, provenance=provenance)

    def chunks() -> Iterator[NDArray[np.uint16]]:
        for index, size in enumerate(_sizes(record.numbers)):
            yield source.integers(Stream("bank", seed, index), size)
            advance(size)

    write_bank(path, record, chunks())


def _make_fluctuations(
    path: Path, record: BankRecord, config: SimulatedNoiseConfig, seed: int, advance: Advance
) -> None:
    source = SimulatedFluctuations(config)
    evaluations = -(-record.numbers // config.qubits)
    law = {
        "shots": config.shots,
        "patch": list(source.patch),
        "mean": source.mean.tolist(),
        "deviation": source.deviation.tolist(),
    }
    provenance = record.provenance | source.circuit.provenance() | {"shots": config.shots}
    record = replace(record, shape=(evaluations, config.qubits), law=law, provenance=provenance)
    products = np.zeros((config.qubits, config.qubits))
    sums = np.zeros(config.qubits)

    def chunks() -> Iterator[NDArray[np.float32]]:
        nonlocal products, sums
        for index, size in enumerate(_sizes(evaluations, max(1, _CHUNK // config.shots))):
            values = source.evaluations(Stream("bank", seed, index), size)
            wide = values.astype(np.float64)
            products, sums = products + wide.T @ wide, sums + wide.sum(axis=0)
            yield values
            advance(min(values.size, record.numbers))

    written = write_bank(path, record, chunks())
    mean = sums / evaluations
    covariance = products / evaluations - np.outer(mean, mean)
    write_record(path, replace(written, law=law | {"covariance": covariance.tolist()}))


def _pseudo_random(numbers: int, resolution: int, seed: int, advance: Advance) -> Iterator[NDArray[np.uint16]]:
    for index, size in enumerate(_sizes(numbers)):
        yield Stream("bank", seed, index).numpy_generator().integers(0, 2**resolution, size, dtype=np.uint16)
        advance(size)


def _sizes(total: int, chunk: int = _CHUNK) -> Iterator[int]:
    for start in range(0, total, chunk):
        yield min(chunk, total - start)
