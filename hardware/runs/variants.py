"""One run at several resilience levels and packings: what mitigation gains, what packing costs, at what price.

Each variant is a whole reverse diffusion of its own in `hardware/variants/<key of the run's plan>/<name>/`, with the
images, denoising steps, shots and seeds of the run; so besides expectation values also the images can be compared.
Variants resume like runs; those of another model or of other options lie elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from hardware.comparison.expectation_values import NoisySimulation, classifier_of
from hardware.comparison.figures import draw_variants
from hardware.comparison.image_metrics import compare_images
from hardware.errors import HardwareError
from hardware.inference.workload import Workload, load_workload
from hardware.planning.bill import Plan
from hardware.primitives.options import LEVEL_MITIGATION
from hardware.runs.stages import compare_run, infer
from qhybrid.config import BUDGET_KEYS, HardwareConfig, build_section
from qhybrid.data.images import to_uint8
from qhybrid.files import write_json
from qhybrid.rundir import RunDirectory

LEVELS = ("0", "1", "2", "sampler")
RESCALED = "+rescale"


class VariantDirectory(RunDirectory):
    """A run directory whose hardware stage lies in a folder of its own.

    Args:
        run: Directory of the run that the variant belongs to.
        key: Key of the run's plan.
        name: Name of the variant, which its folder bears.
    """

    def __init__(self, run: RunDirectory, key: str, name: str) -> None:
        super().__init__(run.path)
        self._folder = run.hardware / "variants" / key / name

    @property
    def hardware(self) -> Path:
        """The variant's folder."""
        return self._folder


def compare_variants(
    run: RunDirectory | str | Path,
    levels: Sequence[str],
    packs: Sequence[Literal["auto"] | int] = (),
    *,
    yes: bool = False,
    echo: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run the variants that are missing, and compare all of them with exact and noisy simulation.

    Args:
        run: Directory of a run with a finished hardware stage, which gives backend, images, steps and shots.
        levels: Names of levels: `0`, `1`, `2` (the Estimator's resilience levels) and `sampler`, each also with learned
            rescaling (`1+rescale`; `rescale` alone is that of level 0); by default that of the run.
        packs: Images side by side, `auto` or numbers. By default that of the run; and on a local device, where it
            costs nothing, one by one as well at the first level, which shows what packing costs in accuracy.
        yes: Permission to send jobs to a real device; a local one needs none.
        echo: Called with lines that tell what goes on.

    Returns:
        Content of comparison.json with `variants`: per variant its name, `rms`, `bias`, `z_rms`, `beyond_2` (against
        exact values), `images` (as of `compare_images`), `jobs`, `executions`, `seconds`. The first is the noisy
        simulation, which has no shots and no cost. Also drawn in variants.png.

    Raises:
        HardwareError: Unknown level; the run has not finished; as for `infer`.
    """
    directory = RunDirectory.open(run.path if isinstance(run, RunDirectory) else run)
    with directory.locked():
        return _compare_variants(directory, levels, packs, yes, echo)


def _compare_variants(
    directory: RunDirectory,
    levels: Sequence[str],
    packs: Sequence[Literal["auto"] | int],
    yes: bool,
    echo: Callable[[str], None],
) -> dict[str, Any]:
    levels = ["0" + RESCALED if level == "rescale" else level for level in levels]
    foreign = [level for level in levels if level.removesuffix(RESCALED) not in LEVELS]
    if foreign:
        raise HardwareError(
            f"level `{', '.join(foreign)}` is unknown: choose of {', '.join(LEVELS)}, or rescale, 1+rescale, ..."
        )
    workload = load_workload(directory, offline=True)
    if workload is None or not workload.images_file.exists():
        raise HardwareError(f"`{directory.hardware}` has no finished run to vary: run `qhybrid hardware infer` first")
    comparison = compare_run(directory)
    plan = workload.plan
    levels = levels or [_level_of(plan)]
    chosen = [(level, pack) for level in levels for pack in packs or (plan.config["pack"],)]
    # A local copy has another name than the device that it stands for.
    if not packs and plan.pack > 1 and plan.backend != plan.device:
        chosen.insert(1, (levels[0], 1))
    # All before the first is run: one that does not go with the run's other options stops here.
    configs = [_variant_config(plan, level, pack) for level, pack in chosen]
    rows = [_noisy_row(workload, comparison)]
    rows += [
        _variant(directory, plan.key, level, pack, config, yes, echo)
        for (level, pack), config in zip(chosen, configs, strict=True)
    ]
    comparison = {**comparison, "variants": [row for row in rows if row is not None]}
    write_json(directory.hardware / "comparison.json", comparison)
    draw_variants(comparison["variants"], workload.plan.backend, directory.hardware / "variants.png")
    return comparison


def _level_of(plan: Plan) -> str:
    level = "sampler" if plan.primitive == "sampler" else str(plan.level)
    return level + RESCALED if plan.config.get("rescale") else level


def _variant_config(plan: Plan, level: str, pack: Literal["auto"] | int) -> HardwareConfig:
    """The run's options at another level and packing."""
    base = level.removesuffix(RESCALED)
    sampler = base == "sampler"
    changed = {
        "primitive": "sampler" if sampler else "estimator",
        "level": 0 if sampler else int(base),
        "rescale": level.endswith(RESCALED),
        "pack": pack,
        "qpu_steps": list(plan.qpu_steps),
        **dict.fromkeys(BUDGET_KEYS),
        **LEVEL_MITIGATION,
    }
    return build_section(HardwareConfig, {**plan.config, **changed}, f"level {level}")


def _variant(
    directory: RunDirectory,
    key: str,
    level: str,
    pack: Literal["auto"] | int,
    config: HardwareConfig,
    yes: bool,
    echo: Callable[[str], None],
) -> dict[str, Any]:
    words = level if level.startswith("sampler") else f"level {level}"
    name = f"{words.replace(' ', '-').replace('+', '-')}-pack-{pack}"
    echo(f"variant {name}")
    place = VariantDirectory(directory, key, name)
    found = infer(place, config, yes=yes, resume=(place.hardware / "plan.json").exists(), echo=echo)
    plan = Plan.load(place.hardware / "plan.json")
    z = found["device_against_exact"].get("z", {})
    return {
        "name": f"{words}, {plan.pack} at a time",
        "level": level,
        "pack": plan.pack,
        "n": found["device_against_exact"]["n"],
        "rms": found["device_against_exact"]["rms"],
        "bias": found["device_against_exact"]["bias"],
        "z_rms": z.get("rms"),
        "beyond_2": z.get("beyond_2"),
        "standard_error": found["standard_error"],
        "rescaling": found["rescaling"],
        "images": found["images"],
        "jobs": plan.jobs,
        "executions": plan.executions,
        "seconds": plan.seconds,
    }


def _noisy_row(workload: Workload, comparison: dict[str, Any]) -> dict[str, Any] | None:
    """The noise model without shots: its expectation values, and the images that they lead to."""
    values = comparison["noisy_against_exact"]
    if values is None or values["n"] < comparison["device_against_exact"]["n"]:
        # Too large a circuit to simulate all of it.
        return None
    images, twins = NoisySimulation(workload).images(), to_uint8(torch.from_numpy(workload.process.simulate().images))
    return {
        "name": "noisy simulation",
        "level": None,
        "pack": workload.plan.pack,
        "n": values["n"],
        "rms": values["rms"],
        "bias": values["bias"],
        "z_rms": None,
        "beyond_2": None,
        "standard_error": 0.0,
        "rescaling": None,
        "images": compare_images(images, twins, classifier_of(workload)),
        "jobs": 0,
        "executions": 0,
        "seconds": 0.0,
    }
