"""Configurations and studies, as trees and as texts, and overrides of the command line."""

from __future__ import annotations

from pathlib import Path

import yaml
from fuzzing import ODD, altered, damaged, inputs, survives
from hypothesis import given
from hypothesis import strategies as st

from qhybrid.config import build_config, dump_config, load_config
from qhybrid.errors import ConfigError
from qhybrid.models.build import check_trainable
from qhybrid.studies.plan import load_study
from qhybrid.training.loop import prepare

ROOT = Path(__file__).parent.parent.parent
FULL = build_config(
    {
        "model": {"condition": "class"},
        "sampling": {"classes": {1: 32, 3: 32}},
        "evaluation": {"reliance": {}},
        "quantum": {"noise": {"device": "fake_manila"}, "shots": 100},
        "hardware": {"qpu_steps": [0, 3], "level": 2},
        "diffusion": {"schedule": {"kind": "knots", "knots": [[0, 5], [1, -5]]}},
    }
).model_dump()
SHIPPED = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "configs").glob("*.yaml"))]
STUDIES = [path.read_text() for path in sorted((ROOT / "configs" / "studies").glob("*.yaml"))]
TEXTS = [path.read_text() for path in sorted((ROOT / "configs").glob("*.yaml"))]
YAML = [
    "[",
    "]",
    "{",
    "}",
    ":",
    " ",
    "\n",
    "\t",
    "- ",
    "&a ",
    "*a",
    "<<: ",
    "!!int ",
    "!!python/object:os.system ",
    "|",
]
YAML += [
    "'",
    '"',
    "#",
    "%",
    "@",
    "? ",
    "---\n",
    ".nan",
    ".inf",
    "0x",
    "0o9",
    "1e999",
    "~",
    "\x00",
    "\u2028",
    "9" * 5000,
]
KEYS = [f"{section}.{key}" for section, keys in FULL.items() if isinstance(keys, dict) for key in keys]


@inputs(1500, 50)
@given(tree=st.sampled_from([FULL, *SHIPPED]).flatmap(altered))
def test_configurations(tree, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "config.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8", errors="surrogatepass")

    def read() -> None:
        config = load_config(path)
        path.write_text(dump_config(config), encoding="utf-8")
        assert load_config(path) == config

    survives("configuration", read)


@inputs(800, 30)
@given(data=st.data())
def test_configurations_as_text(data, tmp_path_factory):
    text = data.draw(st.sampled_from(TEXTS + STUDIES))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text)))
        end = place + data.draw(st.integers(0, 4))
        text = text[:place] + data.draw(st.sampled_from(YAML)) + text[end:]
    content = text.encode()
    if data.draw(st.integers(0, 3)) == 0:
        content = data.draw(damaged(content))
    path = tmp_path_factory.getbasetemp() / "text.yaml"
    path.write_bytes(content)
    survives("configuration text", lambda: load_config(path))


@inputs(300, 25)
@given(tree=st.sampled_from([yaml.safe_load(text) for text in STUDIES]).flatmap(altered))
def test_studies(tree, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "study.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
    survives("study", lambda: load_study(path))


@inputs(1000, 40)
@given(
    key=st.sampled_from(KEYS) | st.text(max_size=12),
    value=st.sampled_from(ODD).map(repr)
    | st.text(alphabet="".join(YAML[:15]) + "ab1.-", max_size=14)
    | st.text(max_size=8),
    equals=st.sampled_from(["=", "=", "=", " = ", "", "=="]),
)
def test_overrides(key, value, equals):
    survives("--set", lambda: load_config(ROOT / "configs" / "quickstart.yaml", [f"{key}{equals}{value}"]))


@inputs(250, 6)
@given(data=st.data())
def test_what_is_accepted_can_be_prepared(data):
    tiny = {
        "data": {"name": "digits", "n_train": 20, "classes": [0, 1, 2]},
        "model": {"channels": [8, 8, 8], "time_dim": 8, "dropout": 0.0},
        "quantum": {"qubits": 2, "layers": 1},
        "diffusion": {"timesteps": 20, "schedule": {"kind": "cosine"}},
        "training": {"steps": 2, "batch_size": 4, "device": "cpu", "warmup_steps": 1, "log_every": 1},
    }
    del tiny["model"]["dropout"]
    tree = data.draw(altered(tiny))

    def read() -> None:
        if not isinstance(tree, dict):
            raise ConfigError("no mapping")
        config = build_config(tree)
        if config.quantum.qubits * config.quantum.layers <= 400:
            check_trainable(config)
            if max(config.model.channels) <= 64 and config.model.time_dim <= 256:
                prepare(config)

    survives("prepared configuration", read)
