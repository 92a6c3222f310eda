"""What mitigation gains: raw values, learned rescaling, levels 1 and 2, the Sampler; on local copies of devices.

    python tests/benchmarks/compare_mitigation.py --folder FOLDER --out results.json [--devices ...] [--qubits ...]
    python tests/benchmarks/compare_mitigation.py --folder FOLDER --out digits.json --run RUN

Without `--run`, models with random weights whose angles are known beforehand: 10 classes in 4 steps are 40 circuits on
4 places side by side, 1,024 shots. With it, a trained run directory, which is copied, at its own options; of its images
class accuracy and KID stand in the table as well. One seed: a measurement of these cases, not a law.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hardware
from hardware.runs.variants import VariantDirectory, compare_variants
from qhybrid.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from qhybrid.config import HardwareConfig, build_config
from qhybrid.data.labels import LabelSpace
from qhybrid.files import read_json, write_json
from qhybrid.models.build import build_model
from qhybrid.rundir import RunDirectory

LEVELS = ("0", "rescale", "1", "2", "sampler")


def random_run(folder: Path, qubits: int, layers: int) -> RunDirectory:
    """A conditional model with random weights, whose circuit sees class and time."""
    config = build_config(
        {
            "name": "random",
            "model": {
                "channels": [8, 8, 8],
                "time_dim": 8,
                "condition": "class",
                "bottleneck": {"sees": ["class", "time"]},
            },
            "quantum": {"qubits": qubits, "layers": layers},
            "diffusion": {"timesteps": 50},
        }
    )
    space = LabelSpace(tuple(map(str, range(10))), np.arange(10), np.full(10, 5))
    torch.manual_seed(0)
    model = build_model(config, 1, classes=10)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    run = RunDirectory.create(folder, config)
    save_checkpoint(run, config, 1, model, model, {}, (1, 8, 8), space)
    return run


def rows_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The compact part of each variant."""
    kept = ("name", "pack", "n", "rms", "bias", "z_rms", "beyond_2", "standard_error", "executions", "seconds")
    return [
        {**{key: row[key] for key in kept}, "held": None if row["rescaling"] is None else row["rescaling"]["held"]}
        for row in found["variants"]
    ]


def random_cell(folder: Path, device: str, qubits: int, layers: int) -> dict[str, Any]:
    """All variants of one circuit on one device."""
    run = random_run(folder / f"{device}-{qubits}-{layers}", qubits, layers)
    options = HardwareConfig(backend=device, images=10, steps=4, qpu_steps="all", shots=1024, pack=4)
    hardware.infer(run, options)
    found = compare_variants(run, LEVELS, [4])
    return {"device": device, "qubits": qubits, "layers": layers, "shots": 1024, "variants": rows_of(found)}


def trained_cell(folder: Path, source: Path) -> dict[str, Any]:
    """All variants of a trained run, with what its images are worth."""
    place = folder / "trained"
    if not place.exists():
        shutil.copytree(source, place, ignore=shutil.ignore_patterns("hardware"))
    run = RunDirectory.open(place)
    options = run.config().hardware or HardwareConfig(images=1000, qpu_steps="all")
    hardware.infer(run, options)
    found = compare_variants(run, LEVELS, ["auto"])
    rows = rows_of(found)
    key = read_json(run.hardware / "plan.json")["key"]
    for row, level in zip(rows[1:], ("level-0", "level-0-rescale", "level-1", "level-2", "sampler"), strict=True):
        variant = VariantDirectory(run, key, f"{level}-pack-auto").hardware
        accuracy = read_json(variant / "comparison.json")["class_accuracy"]
        row |= {"class_accuracy": accuracy and {name: accuracy[name] for name in ("n", "exact", "device")}}
        with np.load(variant / "images.npz") as file:
            row |= {name: kid_of(run, file[key]) for name, key in (("kid", "images"), ("kid_exact", "exact"))}
    return {"device": options.backend, "images": options.images, "shots": options.shots, "variants": rows}


def kid_of(run: RunDirectory, images: np.ndarray) -> dict[str, Any]:
    """KID of images against the real test images, in the features of the run's own classifier."""
    from hardware.comparison.image_metrics import run_classifier
    from qhybrid.data import load_data
    from qhybrid.evaluation.scores import kid_score

    config = run.config()
    test = load_data(config.data).test
    classifier = run_classifier(run, load_checkpoint(run.path).image_shape)
    assert classifier is not None
    generated, real = (classifier(found.reshape(*found.shape[:3], -1))[0] for found in (images, test))
    score = kid_score(generated, real, config.evaluation, np.random.default_rng(0))
    return {"n": len(images), "value": score["value"], "interval": score["interval"]}


def main() -> None:
    """Measure cell by cell; what is done is written at once, and not done again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--devices", nargs="+", default=["fake_torino", "fake_kingston"])
    parser.add_argument("--qubits", nargs="+", type=int, default=[4, 6, 8])
    parser.add_argument("--layers", nargs="+", type=int, default=[3, 8])
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.run is not None:
        write_json(given.out, trained_cell(given.folder, given.run))
        return
    cells = read_json(given.out)["cells"] if given.out.exists() else []
    done = {(cell["device"], cell["qubits"], cell["layers"]) for cell in cells}
    for qubits in given.qubits:
        for layers in given.layers:
            for device in given.devices:
                if (device, qubits, layers) not in done:
                    cells.append(random_cell(given.folder, device, qubits, layers))
                    write_json(given.out, {"cells": cells})
                    print_cell(cells[-1])


def print_cell(cell: dict[str, Any]) -> None:
    """A line per variant."""
    print(f"{cell['device']}, {cell['qubits']} qubits, {cell['layers']} layers")
    for row in cell["variants"]:
        z = "" if row["z_rms"] is None else f"z {row['z_rms']:.2f}"
        refused = ", refused" if row["held"] is False else ""
        print(f"  {row['name']}: RMS {row['rms']:.4f} (n = {row['n']}) {z} {row['executions']:,} executions{refused}")


if __name__ == "__main__":
    main()
