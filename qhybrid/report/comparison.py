"""`qhybrid compare`: runs side by side on one self-contained page."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qhybrid.checkpoints.checkpoint import latest_checkpoint, load_checkpoint
from qhybrid.config import RunConfig, changed_keys
from qhybrid.errors import RunDirectoryError
from qhybrid.evaluation.explanations import MEANINGS, TITLES
from qhybrid.evaluation.record import read_evaluation
from qhybrid.files import DamagedFileError, read_npz, write_text
from qhybrid.pictures.grids import labelled_rows
from qhybrid.report.charts import loss_chart
from qhybrid.report.model_facts import model_facts
from qhybrid.report.page import embed, page_template
from qhybrid.report.summary import core_in_words
from qhybrid.rundir import RunDirectory

_SHOWN = 12


@dataclass(frozen=True)
class _Run:
    name: str
    run: RunDirectory
    config: RunConfig
    model: dict[str, Any] | None
    evaluation: dict[str, Any] | None
    rows: list[dict[str, Any]]
    samples: dict[str, NDArray[Any]] | None


def write_comparison(runs: Sequence[str | Path], page: str | Path) -> Path:
    """Write a page with runs side by side: what differs between them, curves, metrics, reliance, images of equal seeds.

    Args:
        runs: Run directories, two or more; the first is the one that the others are told apart from.
        page: HTML file to be written.

    Returns:
        Path of the page.

    Raises:
        RunDirectoryError: Fewer than two runs, one that is named twice, no run directory, or a damaged file.
    """
    if len(runs) < 2:
        raise RunDirectoryError(f"a comparison needs two runs or more, found {len(runs)}: name another run directory")
    places = [Path(run).resolve() for run in runs]
    for place in places:
        if places.count(place) > 1:
            raise RunDirectoryError(f"`{place}` is named twice: name each run once")
    read = [_read(RunDirectory.open(run), name) for run, name in zip(runs, _names(places), strict=True)]
    first = read[0].config.model_dump(mode="json")
    html = page_template("comparison.html.j2").render(
        runs=read,
        core_in_words=core_in_words,
        differences=[changed_keys(first, item.config.model_dump(mode="json")) for item in read[1:]],
        curves=_curves(read),
        metrics=_metrics(read),
        warnings=_warnings(read),
        images=_images(read),
    )
    write_text(Path(page), html)
    return Path(page)


def _read(run: RunDirectory, name: str) -> _Run:
    trained = latest_checkpoint(run) is not None
    samples = None
    if run.images_file.exists():
        try:
            samples = read_npz(run.images_file, ["images", "seeds"], ["labels"])
        except DamagedFileError as error:
            raise RunDirectoryError(
                f"`{run.images_file}` cannot be read ({error}): `qhybrid sample {run.path}` writes it anew"
            ) from None
    return _Run(
        name,
        run,
        run.config(),
        model_facts(load_checkpoint(run.path)) if trained else None,
        read_evaluation(run) if run.evaluation_file.exists() else None,
        run.training_rows(),
        samples,
    )


def _names(places: Sequence[Path]) -> list[str]:
    """The folders' own names, with those above them where these are equal."""
    for depth in range(1, max(len(place.parts) for place in places)):
        names = ["/".join(place.parts[-depth:]) for place in places]
        if len(set(names)) == len(names):
            return names
    return [str(place) for place in places]


def _curves(runs: Sequence[_Run]) -> str | None:
    rows = {item.name: item.rows for item in runs if item.rows}
    return embed(loss_chart(rows)) if rows else None


def _metrics(runs: Sequence[_Run]) -> list[dict[str, Any]]:
    """A row per metric that some run has: `title`, `meaning`, and under `entries` one per run or `None`."""
    found = [{} if item.evaluation is None else item.evaluation["metrics"] for item in runs]
    return [
        {"title": title, "meaning": MEANINGS[name], "entries": [metrics.get(name) for metrics in found]}
        for name, title in TITLES.items()
        if any(name in metrics for metrics in found)
    ]


def _warnings(runs: Sequence[_Run]) -> list[str]:
    """Why numbers of the runs cannot be held against each other."""
    judged = [item.evaluation for item in runs if item.evaluation is not None]
    found = []
    if len({item.config.data.name for item in runs}) > 1:
        found.append("The runs have different data sets: their metrics cannot be compared.")
    elif len({result["features"]["hash"] for result in judged}) > 1:
        found.append("The runs were judged by different classifiers: their KID and accuracies cannot be compared.")
    if len({(result["n_generated"], result["n_test"]) for result in judged}) > 1:
        found.append("The runs were judged by different numbers of images: FID above all depends on them.")
    if len(runs) > len(judged) > 0:
        found.append("Some runs were not judged yet: `qhybrid evaluate RUN` does.")
    return found


def _images(runs: Sequence[_Run]) -> str | None:
    """Images of the first seeds that all runs have, of the same class where classes are asked for; a row per run."""
    sampled = [(item.name, item.samples) for item in runs if item.samples is not None]
    if len(sampled) < 2 or len({samples["images"].shape[1:] for _, samples in sampled}) > 1:
        return None
    asked = []
    for _, samples in sampled:
        labels = samples.get("labels", np.full(len(samples["seeds"]), -1))
        keys = [(int(seed), *np.ravel(label).tolist()) for seed, label in zip(samples["seeds"], labels, strict=True)]
        asked.append({key: place for place, key in enumerate(keys)})
    common = [key for key in asked[0] if all(key in places for places in asked)][:_SHOWN]
    if not common:
        return None
    rows = [
        (name, samples["images"][[places[key] for key in common]])
        for (name, samples), places in zip(sampled, asked, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "images.png"
        labelled_rows(rows, picture)
        return embed(picture.read_bytes())
