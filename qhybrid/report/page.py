"""`report.html`: everything about a run on one page, in one file that needs no other and no network."""

from __future__ import annotations

import base64
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape
from numpy.typing import NDArray

from qhybrid.config import RunConfig, dump_config
from qhybrid.errors import RunDirectoryError
from qhybrid.evaluation.explanations import MEANINGS, TITLES
from qhybrid.evaluation.record import read_evaluation
from qhybrid.files import DamagedFileError, read_npz, write_text
from qhybrid.pictures.grids import animated_grid, image_grid, labelled_rows
from qhybrid.progress import duration
from qhybrid.report.charts import circuit_chart, class_chart, reliance_chart, training_chart
from qhybrid.report.device_files import read_device_files
from qhybrid.report.model_facts import model_facts
from qhybrid.report.reliance_view import class_rows, reliance_rows
from qhybrid.report.summary import core_in_words, first_lines
from qhybrid.rundir import RunDirectory
from qhybrid.sampling.frames import denoising_frames
from qhybrid.tracking.tracked import tracked

_SHOWN = 16
_FILMED, _MOST_FRAMES = 10, 25
# What a metric's row shows of an entry that does not say it.
_UNKNOWN = {
    "reason": None,
    "floor": None,
    "training_images": None,
    "interval": None,
    "n_generated": None,
    "n_real": None,
}


def write_report(run: RunDirectory | str | Path) -> Path:
    """Write `report.html` from whatever stages the run directory holds; stages that are missing are left out.

    Args:
        run: The run directory.

    Returns:
        Path of the file.

    Raises:
        RunDirectoryError: Not a run directory, a file in it cannot be read, or its data set or noise bank has changed.
    """
    run = run if isinstance(run, RunDirectory) else RunDirectory.open(run)
    with run.locked():
        run.check_inputs()
        page = _write_page(run)
        with tracked(run) as trackers:
            trackers.document(page)
        return page


def _write_page(run: RunDirectory) -> Path:
    config = run.config()
    # All that may be damaged before anything is drawn.
    evaluation = read_evaluation(run) if run.evaluation_file.exists() else None
    rows, files = run.training_rows(), read_device_files(run)
    model = _model(run)
    html = page_template("report.html.j2").render(
        config=config,
        lines=first_lines(config, evaluation, model),
        core=core_in_words(config, model),
        yaml=dump_config(config),
        meta=run.meta(),
        images=_images(run),
        film=_film(run, config),
        training=_training(rows),
        evaluation=None if evaluation is None else _evaluation(evaluation),
        reliance=None if evaluation is None else _reliance(evaluation),
        model=model,
        hardware=_hardware(run, files, [] if model is None else model["class_names"]),
    )
    write_text(run.report_file, html)
    return run.report_file


def page_template(name: str) -> Template:
    """A template of this package, with the filters `number`, `duration` and `typeset`; text is escaped.

    Args:
        name: File name of the template, e.g. `report.html.j2`.
    """
    page = Environment(
        loader=PackageLoader("qhybrid.report", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page.filters |= {"number": format_number, "duration": duration, "typeset": typeset}
    return page.get_template(name)


def format_number(value: float | int | None) -> str:
    """Three significant digits, thousands separated; a dash for what is not known."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    text = f"{value:.3g}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}"
    return text.replace("-", "\N{MINUS SIGN}")


def typeset(text: str) -> Markup:
    """A sentence as HTML: what stands between backquotes as code, minus signs as such."""
    pieces = str(escape(text)).split("`")
    coded = "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))
    return Markup(re.sub(r"(?<=[\s\[(])-(?=\d)", "\N{MINUS SIGN}", coded))


def _images(run: RunDirectory) -> dict[str, str | None]:
    folder = run.path / "evaluation"
    return {
        "generated": _picture(folder / "generated.png") or _picture(run.grid_file),
        "real": _picture(folder / "real.png"),
        "nearest": _picture(folder / "nearest.png"),
    }


def _film(run: RunDirectory, config: RunConfig) -> dict[str, Any] | None:
    """How the first images form out of noise: an animation and the last picture of it, `steps` and `n`.

    Only of a run that was sampled, whose noise is at hand then; not where each step would be a job of Aer's.
    """
    from qhybrid.checkpoints.checkpoint import latest_checkpoint, load_checkpoint

    sampling = config.sampling
    has_core = config.model.bottleneck.core.name != "none"
    slow = has_core and config.quantum.simulator == "aer"
    if sampling is None or slow or not run.images_file.exists() or latest_checkpoint(run) is None:
        return None
    n = min(sampling.images, _FILMED)
    frames = denoising_frames(load_checkpoint(run.path), sampling, n)
    shown = frames[np.unique(np.linspace(0, len(frames) - 1, _MOST_FRAMES).astype(int))]
    with tempfile.TemporaryDirectory() as folder:
        moving, still = Path(folder) / "film.png", Path(folder) / "still.png"
        animated_grid(list(shown), moving, columns=n)
        image_grid(frames[-1], still, columns=n)
        return {"film": _picture(moving), "still": _picture(still), "steps": len(frames), "n": n}


def _training(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    if not rows:
        return None
    return {"chart": embed(training_chart(rows)), "last": rows[-1]}


def _evaluation(result: dict[str, Any]) -> dict[str, Any]:
    metrics = result["metrics"]
    rows = [
        {**_UNKNOWN, **metrics[name], "title": TITLES[name], "meaning": MEANINGS[name]}
        for name in TITLES
        if name in metrics
    ]
    histogram = metrics.get("class_histogram")
    counted = histogram is not None and histogram.get("generated")
    chart = embed(class_chart(histogram["generated"], histogram["real"])) if histogram and counted else None
    return {**result, "rows": rows, "class_chart": chart, "by_class": class_rows(metrics)}


def _reliance(result: dict[str, Any]) -> dict[str, Any] | None:
    """Rows, figure and sentence; of a run judged by an older version nothing is known."""
    relied = result.get("reliance")
    if relied is None or "untouched" not in relied:
        return None
    return {**relied, "rows": reliance_rows(relied), "chart": embed(reliance_chart(relied))}


def _model(run: RunDirectory) -> dict[str, Any] | None:
    """Parameters and circuit of the latest checkpoint, with a picture of the circuit."""
    from qhybrid.checkpoints.checkpoint import latest_checkpoint, load_checkpoint

    if latest_checkpoint(run) is None:
        return None
    checkpoint = load_checkpoint(run.path)
    found = model_facts(checkpoint)
    if checkpoint.spec is not None:
        found["circuit"]["chart"] = embed(circuit_chart(checkpoint.spec.circuit))
    return found


def _hardware(run: RunDirectory, files: dict[str, Any], class_names: list[str]) -> dict[str, Any] | None:
    if files["plan"] is None:
        return None
    return {
        **files,
        "layout": _picture(run.hardware / "layout.png"),
        "chart": _picture(run.hardware / "comparison.png"),
        "variants": _picture(run.hardware / "variants.png"),
        "images": _device_images(run.hardware / "images.npz", files["plan"]["backend"], class_names),
    }


def _device_images(path: Path, backend: str, class_names: list[str]) -> str | None:
    """Images with the bottleneck on the device above those of exact simulation, from the same seeds, in one order.

    Above the columns of a conditional model stands the class asked for.
    """
    if not path.is_file():
        return None
    try:
        arrays = read_npz(path, ["images"], ["exact", "labels"])
    except DamagedFileError as error:
        raise RunDirectoryError(f"`{path}` cannot be read ({error}): run `qhybrid hardware infer` again") from None
    if not _one_picture(**arrays):
        raise RunDirectoryError(f"`{path}` holds no images of a device: run `qhybrid hardware infer` again")
    titles = {"images": f"bottleneck on {backend}", "exact": "exact simulation, same seeds"}
    rows = [(title, arrays[name][:_SHOWN]) for name, title in titles.items() if name in arrays]
    labels = arrays["labels"][:_SHOWN] if "labels" in arrays else None
    named = labels is not None and labels.ndim == 1 and 0 <= labels.min() <= labels.max() < len(class_names)
    heads = [class_names[k][:8] for k in labels.tolist()] if labels is not None and named else []
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "images.png"
        labelled_rows(rows, picture, heads)
        return _picture(picture)


def _one_picture(images: NDArray[Any], exact: NDArray[Any] | None = None, labels: NDArray[Any] | None = None) -> bool:
    """Whether arrays are images, their twins, and the class `(N,)` or classes `(N, K)` asked for of each."""
    shown = images.dtype == np.uint8 and images.ndim in (3, 4) and images.size > 0
    twins = exact is None or (exact.dtype == np.uint8 and exact.shape == images.shape)
    asked = labels is None or (labels.dtype.kind in "iu" and labels.ndim in (1, 2) and len(labels) == len(images))
    return shown and twins and asked


def _picture(path: Path) -> str | None:
    return embed(path.read_bytes()) if path.is_file() else None


def embed(png: bytes) -> str:
    """A PNG picture as the address of an image element, so that the page needs no other file."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
