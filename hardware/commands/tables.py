"""What the commands print: tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table

if TYPE_CHECKING:
    from hardware.jobs.budget import Budget
    from hardware.planning.bill import Plan
    from hardware.service.backends import BackendRow


def backends_table(rows: Sequence[BackendRow]) -> Table:
    """One line per backend."""
    table = Table()
    # A name that is cut off cannot be typed; in a narrow terminal the basis folds instead.
    table.add_column("name", no_wrap=True, min_width=max(len(row.name) for row in rows))
    account = any(row.plan is not None for row in rows)
    more = ("plan", "seconds left") if account else ()
    for heading in ("qubits", "basis", "2q error", "readout", "calibrated", "queue", *more):
        table.add_column(heading, no_wrap=heading != "basis")
    for row in rows:
        left = "-" if row.seconds_left is None else f"{row.seconds_left:.0f}"
        table.add_row(
            row.name,
            str(row.qubits),
            " ".join(row.basis),
            _percent(row.two_qubit_error),
            _percent(row.readout_error),
            (row.calibrated or "-")[:10],
            _queue_words(row),
            *((row.plan or "-", left) if account else ()),
        )
    return table


def _queue_words(row: BackendRow) -> str:
    if row.queue is None and row.status is None:
        return "local"
    jobs = "-" if row.queue is None else str(row.queue)
    return jobs if row.status in ("active", None) else f"{jobs}, {row.status}"


def transpile_table(report: dict[str, Any]) -> Table:
    """Candidates of `Transpiled.report`, best first."""
    table = Table("candidate", "success", "idle", "score", "2q gates", "depth", "device qubits")
    table.title = f"{report['circuit']} on {report['backend']}"
    for row in sorted(report["candidates"], key=lambda row: -float(row["score"])):
        table.add_row(
            row["method"],
            f"{row['estimated_success']:.3f}",
            f"{row['idle_fidelity']:.3f}",
            f"{row['score']:.3f}",
            str(row["two_qubit_gates"]),
            str(row["depth"]),
            " ".join(map(str, row["layout"])),
            style="bold" if row["method"] == report["method"] else None,
        )
    return table


def plan_table(plan: Plan) -> Group:
    """The bill, what other levels would cost, and the places of the copies."""
    from hardware.planning.bill import open_plan_words, price_words, queue_waits

    table = Table(show_header=False, title=f"Plan for {plan.device}")
    left = "unknown" if plan.remaining_seconds is None else f"{plan.remaining_seconds:.0f} s"
    rows = {
        "backend": plan.backend,
        "mode": plan.mode,
        "steps on the device": f"{', '.join(map(str, plan.qpu_steps))} of 0 to {plan.steps - 1}",
        "jobs": f"{plan.jobs}, {queue_waits(plan.rounds)}",
        "distinct circuits": f"{plan.parameter_sets:,}",
        "images, shots": f"{plan.images}, {plan.shots}",
        "mitigation": mitigation_words(plan.config),
        "images side by side": str(plan.pack),
        **({} if plan.references is None else {"reference points": _references(plan)}),
        "executions": f"{plan.executions:,}",
        "device time": f"{plan.seconds:.1f} s",
        **({} if plan.step_by_step is None else {"step by step": _step_by_step(plan.step_by_step)}),
        **({} if plan.cost is None else {"price": price_words(plan.cost)}),
        "budget": budget_words(plan.budget),
        "share of an Open plan": open_plan_words(plan.open_plan_share),
        "left on the account": left if plan.quota_share is None else f"{left}, of which {plan.quota_share:.1%}",
        "parameters per request": f"{plan.parameter_bytes:,} bytes",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    parts = [table, levels_table(plan)]
    if plan.pack > 1:
        parts.append(patches_table(plan))
    return Group(*parts)


def budget_words(budget: Budget) -> str:
    """The budgets of a plan: `60 s`, `20.00 at 1.6 per second (12.5 s)`, or both."""
    parts = [] if budget.seconds is None else [f"{budget.seconds:g} s"]
    if budget.cost is not None and budget.price is not None:
        parts.append(f"{budget.cost:,.2f} at {budget.price:g} per second ({budget.cost / budget.price:.1f} s)")
    return ", ".join(parts) or "none"


def _references(plan: Plan) -> str:
    if not plan.sets_beside:
        return "the run's own circuits, no further executions"
    assert plan.references is not None
    further = plan.references["executions"]
    return f"{plan.sets_beside} with the first job, {further:,} of the executions"


def _step_by_step(price: Mapping[str, Any]) -> str:
    from hardware.planning.bill import queue_waits

    return (
        f"{price['jobs']} jobs, {queue_waits(price['rounds'])}, {price['executions']:,} executions, "
        f"{price['seconds']:.1f} s, with a circuit of its own for each image"
    )


def mitigation_words(config: Mapping[str, Any]) -> str:
    """What a `HardwareConfig` does about errors: `level 1, no TREX, decoupling XY4`."""
    if config["primitive"] == "sampler":
        words = ["sampler, readout " + ("corrected" if config["readout_mitigation"] else "left as it is")]
    else:
        words = [f"level {config['level']}"]
    chosen = {"TREX": config["trex"], "ZNE": config["zne"], "twirling": config["twirling"]}
    words += [name if wanted else f"no {name}" for name, wanted in chosen.items() if wanted is not None]
    if config["zne_factors"] is not None:
        words.append(f"noise factors {', '.join(f'{factor:g}' for factor in config['zne_factors'])}")
    if config.get("rescale"):
        words.append("rescaled")
    if config["dynamical_decoupling"] is not None:
        words.append(f"decoupling {config['dynamical_decoupling']}")
    return ", ".join(words)


def levels_table(plan: Plan) -> Table:
    """What a plan's steps would cost at each resilience level, and with the Sampler."""
    table = Table("", "jobs", "executions", "device time", "share of what is left", "bytes per request")
    table.title = "By mitigation"
    for row in plan.levels:
        sampler = row["primitive"] == "sampler"
        share = "-" if not plan.remaining_seconds else f"{row['seconds'] / plan.remaining_seconds:.1%}"
        table.add_row(
            "sampler" if sampler else f"level {row['level']}",
            str(row["jobs"]),
            f"{row['executions']:,}",
            f"{row['seconds']:.1f} s",
            share,
            # Plans of an earlier version state it once for all.
            f"{row.get('parameter_bytes', plan.parameter_bytes):,}",
            style="bold" if (row["primitive"], row["level"]) == (plan.primitive, plan.level) else None,
        )
    return table


def patches_table(plan: Plan) -> Table:
    """Where each copy of the circuit runs."""
    table = Table("copy", "device qubits", "success", "idle", "mean readout error", title="Side by side")
    for line in plan.patches:
        known = [error for error in line["readout_errors"] if error is not None]
        table.add_row(
            str(line["patch"]),
            " ".join(map(str, line["layout"])),
            f"{line['estimated_success']:.3f}",
            f"{line['idle_fidelity']:.3f}",
            _percent(sum(known) / len(known) if known else None),
        )
    return table


def status_table(found: dict[str, Any]) -> Table:
    """Jobs of a run."""
    table = Table("step", "part", "job", "state", "planned", "charged")
    table.title = f"{found['backend']}: {found['step']} of {found['steps']} steps done"
    for job in found["jobs"]:
        price = seconds_words(job["seconds"]), seconds_words(job["charged"])
        table.add_row(_steps(job), str(job["part"]), job["job"], job["state"], *price)
    table.caption = f"planned {found['seconds']:.1f} s for the whole run; charged so far {found['charged']:.1f} s"
    return table


def jobs_table(jobs: Sequence[dict[str, Any]]) -> Table:
    """All jobs of a run directory with their price."""
    devices = sorted({str(job.get("backend", "-")) for job in jobs})
    table = Table(title=f"jobs on {', '.join(devices)}" if devices else "no jobs")
    for heading in ("job", "step", "sent", "state", "planned", "charged"):
        right = heading in ("planned", "charged")
        table.add_column(heading, no_wrap=heading != "sent", justify="right" if right else "left")
    for job in jobs:
        where = [job["variant"]] if job["variant"] else []
        where += [job.get("backend", "-")] if len(devices) > 1 else []
        table.add_row(
            job["job"],
            _steps(job) + (f", part {job['part']}" if job["part"] else ""),
            str(job["sent"])[:16].replace("T", " "),
            ", ".join([job["state"], *where]),
            seconds_words(job["seconds"]),
            seconds_words(job["charged"]),
        )
    planned = sum(job["seconds"] or 0.0 for job in jobs)
    known = [job["charged"] for job in jobs if job["charged"] is not None]
    table.caption = f"planned {planned:.1f} s; charged {sum(known):.1f} s for {len(known)} of {len(jobs)} jobs"
    return table


def seconds_words(seconds: float | None) -> str:
    """Seconds of device time; `-` where they are not known."""
    return "-" if seconds is None else f"{seconds:.1f} s"


def _steps(job: dict[str, Any]) -> str:
    """Denoising steps of a job: `3`, or `0 to 7`."""
    steps = job.get("steps") or [job["step"]]
    return str(steps[0]) if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"


def comparison_table(comparison: dict[str, Any]) -> Table:
    """Differences between exact simulation, noisy simulation and device."""
    table = Table("expectation values", "n", "RMS", "bias", "z: RMS", "|z| > 2")
    table.title = f"{comparison['backend']}, {comparison['parameter_sets']} parameter sets, {comparison['shots']} shots"
    from hardware.inference.rescaling import rescaling_words

    names = {
        "device against exact": "device_against_exact",
        "noisy simulation against exact": "noisy_against_exact",
        "device against noisy simulation": "device_against_noisy",
    }
    for name, key in names.items():
        row = comparison[key]
        if row is None:
            continue
        z = row.get("z")
        scores = (f"{z['rms']:.2f}", f"{z['beyond_2']:.1%}") if z else ("-", "-")
        table.add_row(name, str(row["n"]), f"{row['rms']:.4f}", f"{row['bias']:+.4f}", *scores)
    error = comparison["standard_error"]
    stated = "no stated standard error" if error is None else f"stated standard error {error:.4f}"
    table.caption = f"{stated}; z of pure shot noise: RMS 1, 4.6% above 2"
    rescaling = comparison.get("rescaling")
    if rescaling is not None:
        table.caption += f"\n{rescaling_words(rescaling)}"
    images = comparison["images"]
    if images is not None:
        table.caption += f"\n{images['n']} images beside their exact twins: {image_words(images)}"
    accuracy = comparison.get("class_accuracy")
    if accuracy is not None:
        table.caption += f"\n{accuracy_words(accuracy)}"
    return table


def accuracy_words(accuracy: dict[str, Any]) -> str:
    """Content of `class_accuracies` in words."""
    titles = {"exact": "exact simulation", "noisy": "under the device's noise", "device": "on the device"}
    parts = []
    for name, title in titles.items():
        if name in accuracy:
            low, high = accuracy[name]["interval"]
            parts.append(f"{title} {accuracy[name]['value']:.3f} [{low:.3f}, {high:.3f}]")
    return f"class accuracy of {accuracy['n']} images: {', '.join(parts)}"


def image_words(images: dict[str, Any]) -> str:
    """Content of `compare_images` in words."""
    pixels, ssim, same, distance = _image_cells(images)
    words = f"pixels differ by {pixels} RMS (0 to 1), structural similarity {ssim}"
    if images["same_class"] is None:
        return f"{words}; for the classifier's view, `qhybrid evaluate` on this machine"
    return f"{words}, {same} in the twin's class, distance in its features {distance} (1: as far as another image)"


def variants_table(comparison: dict[str, Any]) -> Table:
    """Levels and packings of one run beside each other."""
    rows = comparison["variants"]
    judged = any(row["images"]["same_class"] is not None for row in rows)
    table = Table(title=f"{comparison['backend']} against exact simulation, {comparison['shots']} shots")
    table.add_column("variant", no_wrap=True)
    for heading in ("RMS", "bias", "z RMS", "|z|>2", "pixels", "SSIM", *(("class", "features") if judged else ())):
        table.add_column(heading)
    for heading in ("executions", "seconds"):
        table.add_column(heading, justify="right")
    for row in rows:
        z = ("-", "-") if row["z_rms"] is None else (f"{row['z_rms']:.2f}", f"{row['beyond_2']:.1%}")
        cost = (f"{row['executions']:,}", f"{row['seconds']:.1f}") if row["jobs"] else ("-", "-")
        seen = _image_cells(row["images"])[: 4 if judged else 2]
        table.add_row(row["name"], f"{row['rms']:.4f}", f"{row['bias']:+.4f}", *z, *seen, *cost)
    judgement = ", share in the twin's class, distance in the classifier's features (1: as far as another image)"
    table.caption = (
        f"RMS, bias, z: of {rows[0]['n']} expectation values. Of {rows[0]['images']['n']} images beside their exact "
        f"twins: RMS of pixels (0 to 1), structural similarity{judgement if judged else ''}"
    )
    return table


def _image_cells(images: dict[str, Any]) -> list[str]:
    return [
        f"{images['rms']:.4f}",
        f"{images['ssim']:.4f}",
        "-" if images["same_class"] is None else f"{images['same_class']:.0%}",
        "-" if images["feature_distance"] is None else f"{images['feature_distance']:.3f}",
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
