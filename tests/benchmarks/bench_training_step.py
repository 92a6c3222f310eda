"""Whole training steps of the quantum arm against those of the `se` arm: 28x28 images, batch 64.

    python tests/benchmarks/bench_training_step.py --qubits 4,8,12,16 --repeats 20 --json steps.json

Everything that training does is in a step: drawing the batch, forward, backward, clipping, optimizer, EMA. The images
are random, since no time depends on them. Steps of all arms are interleaved, so that other work on the machine meets
all of them alike; medians are reported.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qhybrid.config import RunConfig
from qhybrid.training.loop import Trainer, prepare

WARM_UP = 3
BATCH, SIZE, CHANNELS = 64, 28, (32, 64, 128)


def make_trainer(folder: Path, arm: str, qubits: int, layers: int) -> Trainer:
    """A trainer over random images."""
    images = folder / "images.npz"
    if not images.exists():
        rng = np.random.default_rng(0)
        splits = {
            f"{split}_{kind}": rng.integers(0, high, shape, dtype=dtype)
            for split, count in (("train", 128), ("val", 8), ("test", 8))
            for kind, high, shape, dtype in (
                ("images", 256, (count, SIZE, SIZE), np.uint8),
                ("labels", 10, (count, 1), np.int64),
            )
        }
        np.savez(images, **splits)
    config = RunConfig.model_validate(
        {
            "name": "benchmark",
            "data": {"name": "npz", "path": str(images)},
            "model": {"bottleneck": {"core": "none" if arm == "plain" else arm}, "channels": list(CHANNELS)},
            "quantum": {"ansatz": "ry_rz_ladder", "qubits": qubits, "layers": layers},
            "training": {"steps": 1000, "batch_size": BATCH},
        }
    )
    return prepare(config)


def measure(qubits: list[int], layers: int, repeats: int) -> dict[str, Any]:
    """Milliseconds per step: the quantum arm and its own `se` control for each number of qubits."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trainers = {(arm, n): make_trainer(folder, arm, n, layers) for n in qubits for arm in ("se", "quantum")}
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in trainers}
    for repeat in range(WARM_UP + repeats):
        for key, trainer in trainers.items():
            start = time.perf_counter()
            trainer.train_step()
            if repeat >= WARM_UP:
                seconds[key].append(1e3 * (time.perf_counter() - start))
    rows = []
    for n in qubits:
        ratios = [q / s for q, s in zip(seconds["quantum", n], seconds["se", n], strict=True)]
        rows.append(
            {
                "qubits": n,
                "se_ms": statistics.median(seconds["se", n]),
                "quantum_ms": statistics.median(seconds["quantum", n]),
                "ratio": statistics.median(ratios),
            }
        )
    return {
        "batch": BATCH,
        "image": SIZE,
        "layers": layers,
        "repeats": repeats,
        "torch_threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--qubits", default="4,8,12,16")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = measure([int(n) for n in options.qubits.split(",")], options.layers, options.repeats)
    print(
        f"one training step, {SIZE}x{SIZE} images, batch {BATCH}, {options.layers} layers, medians of "
        f"{options.repeats} interleaved steps, {result['torch_threads']} threads, load {result['load_average']:.1f}"
    )
    print(f"{'qubits':>6} {'se':>10} {'quantum':>10} {'ratio':>7}")
    for row in result["rows"]:
        print(f"{row['qubits']:>6} {row['se_ms']:>7.1f} ms {row['quantum_ms']:>7.1f} ms {row['ratio']:>7.2f}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
