"""Whether a long run grows: memory and step time of training, then of sampling and evaluating many images.

    python tests/benchmarks/long_run.py [--config FILE] [--steps 20000] [--images 10000] [--out DIR]

Each stage is a command of its own, whose resident memory is read every second.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"


def measure(*arguments: object) -> tuple[list[tuple[float, float]], float]:
    """Run a command of the program.

    Returns:
        Seconds of the clock and resident memory in MiB, once a second; and the seconds that the command took.
    """
    started = time.time()
    command = [sys.executable, "-m", "qhybrid", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        process, seen = psutil.Process(running.pid), []
        while running.poll() is None:
            try:
                resident = process.memory_info().rss
                if resident:  # a process that has ended and was not waited for holds none
                    seen.append((time.time(), resident / 2**20))
            except psutil.NoSuchProcess:
                break
            time.sleep(1)
    if running.returncode:
        sys.exit(f"`qhybrid {' '.join(command[3:])}` ended with exit code {running.returncode}")
    return seen, time.time() - started


def main() -> None:
    """Print a row for every tenth of the training, and one for each later stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    run = options.out or Path(tempfile.mkdtemp()) / "run"
    keys = [f"training.steps={options.steps}", "training.checkpoint_every=1000", "hardware=null", "sampling=null"]
    settings = [part for key in [*keys, "evaluation=null", "report=false"] for part in ("--set", key)]
    memory, seconds = measure("train", options.config, "--out", run, *settings)
    rows = [json.loads(line) for line in (run / "train.jsonl").read_text().splitlines()]
    print(f"training: {options.steps} steps in {seconds:.0f} s")
    print(f"{'steps':>15}{'ms a step':>12}{'MiB':>8}")
    edges = np.linspace(0, options.steps, 11).astype(int)
    done = 0.0
    total = rows[-1]["seconds"]
    for first, last in pairwise(edges):
        spent = max((row["seconds"] for row in rows if row["step"] <= last), default=0.0)
        # Time is counted from the last line backwards: the command's start is not the first step's.
        end = memory[-1][0] - (total - spent)
        held = [held for when, held in memory if when <= end][-1]
        print(f"{first:>7}-{last:<7}{1000 * (spent - done) / (last - first):>12.1f}{held:>8.0f}")
        done = spent
    for name, arguments in (
        ("sampling", ["sample", run, "--images", options.images]),
        ("evaluation", ["evaluate", run]),
    ):
        memory, seconds = measure(*arguments)
        print(f"{name}: {options.images} images in {seconds:.0f} s, at most {max(held for _, held in memory):.0f} MiB")


if __name__ == "__main__":
    main()
