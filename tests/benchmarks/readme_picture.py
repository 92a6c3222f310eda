"""The README's picture: one digit of each class asked for, made through the circuit and without it.

    qhybrid run configs/quickstart.yaml --out runs/quickstart
    python tests/benchmarks/readme_picture.py runs/quickstart notebooks/pictures/quickstart_digits.png

The seeds are those of the run's images on the device, the first of each class in order, none left out.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from qhybrid import load_checkpoint
from qhybrid.config import SamplingConfig
from qhybrid.files import read_json
from qhybrid.models.interventions import intervened
from qhybrid.pictures.grids import labelled_rows
from qhybrid.rundir import RunDirectory
from qhybrid.sampling.generate import generate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run directory of a conditional model with a finished hardware stage")
    parser.add_argument("png", type=Path, help="picture to write")
    arguments = parser.parse_args()
    run = RunDirectory.open(arguments.run)
    plan = read_json(run.hardware / "plan.json")
    with np.load(run.hardware / "images.npz") as file:
        device, exact, seeds, labels = (file[name] for name in ("images", "exact", "seeds", "labels"))
    first = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)]
    checkpoint = load_checkpoint(run.path)
    with intervened(checkpoint.model, torch.zeros_like):
        bare = generate(checkpoint, SamplingConfig(steps=plan["steps"]), seeds[first].tolist(), labels=labels[first])
    rows = [
        ("asked for, and made through the circuit: exact simulation", exact[first]),
        (f"the circuit on {plan['backend']}, a noisy copy of an IBM device, {plan['shots']:,} shots", device[first]),
        ("without the circuit: its outputs set to zero", bare),
    ]
    labelled_rows(rows, arguments.png, [str(label) for label in labels[first]])


if __name__ == "__main__":
    main()
