"""What a refitted map gains: images of a device before, with learned rescaling, and after `qhybrid hardware tune`.

    qhybrid hardware infer RUN --backend fake_torino --images 1000 --steps 8 --qpu-steps all
    python tests/benchmarks/tune_on_device.py --run RUN --folder FOLDER --out refit.json [--images 1000]

The map is fitted to the results that RUN holds; the images that are judged come from copies of RUN at another seed:
other shots, other latents, the same for all three rows. One training: a measurement of this model, not a law.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compare_mitigation import kid_of

import hardware
from hardware.inference.workload import planned_workload
from qhybrid.config import HardwareConfig
from qhybrid.files import read_json, write_json
from qhybrid.rundir import RunDirectory

_FRESH_SEED = 5000


def judged(run: RunDirectory, options: HardwareConfig) -> dict[str, Any]:
    """Class accuracy and KID of the images that a run makes on the device."""
    hardware.infer(run, options)
    accuracy = read_json(run.hardware / "comparison.json")["class_accuracy"]
    with np.load(run.hardware / "images.npz") as kept:
        kid = kid_of(run, kept["images"])
    return {"class_accuracy": {"n": accuracy["n"], **accuracy["device"]}, "kid": kid}


def main() -> None:
    """Print and write the three rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    planned = HardwareConfig(**planned_workload(RunDirectory.open(given.run), offline=True).plan.config)
    options = planned.model_copy(update={"seed": _FRESH_SEED, "images": given.images})
    plain = RunDirectory(shutil.copytree(given.run, given.folder / "plain", ignore=shutil.ignore_patterns("hardware")))
    tuned = hardware.tune(given.run, out=given.folder / "tuned", echo=print)
    # The features that KID is measured in are those of the evaluation.
    shutil.copy(plain.evaluation_file, tuned.run.evaluation_file)
    rows = {
        "level 0": judged(plain, options),
        "rescaled": judged(plain, options.model_copy(update={"rescale": True})),
        "refitted": judged(tuned.run, options),
    }
    for name, row in rows.items():
        accuracy, kid = row["class_accuracy"], row["kid"]
        print(
            f"{name}: class accuracy {accuracy['value']:.3f} [{accuracy['interval'][0]:.3f}, "
            f"{accuracy['interval'][1]:.3f}], KID {kid['value']:.4f} [{kid['interval'][0]:.3f}, "
            f"{kid['interval'][1]:.3f}] (n = {accuracy['n']})"
        )
    write_json(given.out, {"refit": tuned.record["refit"], "rows": rows})


if __name__ == "__main__":
    main()
