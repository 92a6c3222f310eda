"""Quantum bits against pseudo-random bits of the same law, on digits, paired by seed: does the source matter?

    python tests/benchmarks/compare_noise_sources.py --out runs/noise-sources [--seeds 5] [--steps 400]

Two banks of the same size and resolution, one measured on the simulated snapshot and hashed, one from PCG64; for each
seed a training and a sampling with each bank. Whatever is finished is kept: run again to go on. The difference of KID
is given with its 95 % t-interval; the honest expectation is an interval around 0.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from qhybrid.checkpoints.checkpoint import latest_checkpoint
from qhybrid.config import RunConfig, SimulatedNoiseConfig, build_config
from qhybrid.diffusion.making import make_bank
from qhybrid.evaluation.evaluate import evaluate
from qhybrid.files import read_json, write_json
from qhybrid.rundir import RunDirectory
from qhybrid.sampling.generate import sample
from qhybrid.training.loop import train

BATCH, PIXELS, IMAGES = 32, 64, 300
SOURCES = {"quantum": "quantum_bits", "pseudo": "gaussian"}


def configuration(arm: str, seed: int, steps: int, bank: Path) -> RunConfig:
    return build_config(
        {
            "name": f"{arm}-{seed}",
            "seed": seed,
            "data": {"n_train": 100},
            "model": {"channels": [16, 32, 48], "time_dim": 32, "bottleneck": {"core": "quantum"}},
            "quantum": {"qubits": 4, "layers": 2},
            "diffusion": {
                "prediction": "v",
                "noise": {"source": SOURCES[arm], "bank": str(bank), "reverse": False},
            },
            "training": {
                "steps": steps,
                "batch_size": BATCH,
                "learning_rate": 2e-3,
                "ema_decay": 0.99,
                "checkpoint_every": 100,
                "threads": 1,
                "device": "cpu",
            },
            "sampling": {"steps": 20, "images": IMAGES, "seed": IMAGES * seed},
            "evaluation": {"kid_subset_size": 100},
        }
    )


def score(folder: Path, arm: str, seed: int, steps: int) -> float:
    """KID of one run, which is made or finished if need be."""
    directory = RunDirectory(folder / f"{arm}-{seed}")
    if not directory.evaluation_file.exists():
        config = configuration(arm, seed, steps, folder / f"{arm}.npz")
        run = train(config, directory.path, resume=directory.config_file.exists())
        assert latest_checkpoint(run) is not None
        sample(run)
        evaluate(run)
    metrics = read_json(directory.evaluation_file)["metrics"]
    return float(metrics["kid"]["value"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--device", default="fake_torino")
    given = parser.parse_args()
    # The forward process has 8 of the 9 parts of a bank that feeds it and the latents.
    numbers = math.ceil(given.seeds * given.steps * BATCH * PIXELS * 9 / 8 * 1.02)
    settings = SimulatedNoiseConfig(device=given.device, extractor="toeplitz")
    for arm, source in SOURCES.items():
        bank = given.out / f"{arm}.npz"
        if not bank.with_suffix(".json").exists():
            certificate = make_bank(bank, source, settings, numbers)
            print(f"{bank}: {numbers:,} numbers, failed: {certificate.failed or 'nothing'}", flush=True)
    rows = []
    for seed in range(given.seeds):
        rows.append({arm: score(given.out, arm, seed, given.steps) for arm in SOURCES})
        print(f"seed {seed}: {json.dumps(rows[-1])}", flush=True)
    differences = np.array([row["quantum"] - row["pseudo"] for row in rows])
    half = student.ppf(0.975, len(rows) - 1) * differences.std(ddof=1) / math.sqrt(len(rows))
    mean = float(differences.mean())
    result = {
        "device": given.device,
        "steps": given.steps,
        "kid": rows,
        "difference": mean,
        "interval": [mean - half, mean + half],
    }
    write_json(given.out / "comparison.json", result)
    print(f"KID, quantum minus pseudo-random: {mean:.5f}, 95 % interval {mean - half:.5f} to {mean + half:.5f}")


if __name__ == "__main__":
    main()
