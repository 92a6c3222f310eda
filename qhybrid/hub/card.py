"""The model card: what a stranger must know before using a model, with the numbers that its evaluation found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from qhybrid.checkpoints.checkpoint import Checkpoint
from qhybrid.config import RunConfig
from qhybrid.evaluation.explanations import MEANINGS, TITLES
from qhybrid.files import InputFile
from qhybrid.report.model_facts import model_facts
from qhybrid.report.page import format_number
from qhybrid.report.reliance_view import reliance_rows
from qhybrid.report.summary import core_in_words, first_lines

# Metrics by which the hub's leaderboards could order models; the others are read in the card.
_IN_FRONT = ("kid", "class_accuracy", "fid", "precision", "recall")


def model_card(
    checkpoint: Checkpoint,
    config: RunConfig,
    evaluation: Mapping[str, Any] | None,
    data: InputFile | None = None,
    *,
    license: str | None = None,
    picture: str | None = None,
) -> str:
    """The card as Markdown with YAML front matter, as Hugging Face's hub reads it.

    Args:
        checkpoint: Checkpoint with the trained model.
        config: Configuration of its training.
        evaluation: Content of `evaluation.json`; `None` says in the card that nothing was measured.
        data: Record of the training set's file, if its run kept one.
        license: Identifier of the licence of the weights, if one is to be named.
        picture: Name of a picture of images beside the card.
    """
    facts = model_facts(checkpoint)
    relied = None if evaluation is None else evaluation.get("reliance")
    measured = relied is not None and "untouched" in relied
    page = Environment(
        loader=PackageLoader("qhybrid.hub", ""),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    page.filters["number"] = format_number
    return page.get_template("card.md.j2").render(
        image_size=checkpoint.image_size,
        front=yaml.safe_dump(_front_matter(config, evaluation, license), sort_keys=False, allow_unicode=True),
        config=config,
        core=core_in_words(config, facts),
        data=data,
        evaluation=evaluation,
        lines=first_lines(config, evaluation, facts),
        metrics=_metrics(evaluation),
        model=facts,
        picture=picture,
        reliance=None if relied is None or not measured else {**relied, "rows": reliance_rows(relied)},
    )


def _front_matter(config: RunConfig, evaluation: Mapping[str, Any] | None, license: str | None) -> dict[str, Any]:
    conditional = config.model.condition == "class"
    tags = ["diffusion", "image-generation", "quantum", "qiskit", "hybrid-quantum-classical"]
    front: dict[str, Any] = {"library_name": "qhybrid"}
    if license is not None:
        front["license"] = license
    front["tags"] = [*tags, "class-conditional"] if conditional else tags
    if not conditional:
        front["pipeline_tag"] = "unconditional-image-generation"
    values = {} if evaluation is None else {name: evaluation["metrics"].get(name) for name in _IN_FRONT}
    known = {name: entry for name, entry in values.items() if entry is not None and entry["value"] is not None}
    if evaluation is not None and known:
        result = {
            "task": {"type": "image-generation", "name": "Image generation"},
            "dataset": {"type": config.data.name, "name": evaluation["dataset"], "split": "test"},
            "metrics": [{"type": name, "value": entry["value"], "name": TITLES[name]} for name, entry in known.items()],
        }
        front["model-index"] = [{"name": config.name, "results": [result]}]
    return front


def _metrics(evaluation: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A row per metric with a value: `title`, `value`, `interval`, `n`, `floor` and `meaning`."""
    if evaluation is None:
        return []
    found = evaluation["metrics"]
    rows = []
    for name, title in TITLES.items():
        entry = found.get(name)
        if entry is None or entry["value"] is None:
            continue
        floor = entry.get("floor")
        rows.append(
            {
                "title": title,
                "value": entry["value"],
                "interval": entry.get("interval"),
                "n": entry.get("n_generated") or evaluation["n_generated"],
                "floor": None if floor is None else floor["value"],
                "meaning": MEANINGS[name],
            }
        )
    return rows
