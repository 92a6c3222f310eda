"""Run directories that were made before the bottleneck had a core, a place and a sight: they load, sample and resume.

`old_runs/quantum` and `old_runs/se` were written by the code as it stood then (6 steps on 20 digits, 8 channels).
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from qhybrid.checkpoints.checkpoint import load_checkpoint
from qhybrid.config import build_config, load_config, notices
from qhybrid.errors import ConfigError
from qhybrid.rundir import RunDirectory
from qhybrid.sampling.generate import sample
from qhybrid.training.loop import train

OLD = Path(__file__).parent / "old_runs"


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A writable copy of an old run, by its arm; nothing was told of old spellings yet."""
    monkeypatch.setattr(notices, "_told", set())

    def copy(arm):
        return RunDirectory.open(shutil.copytree(OLD / arm, tmp_path / arm))

    return copy


@pytest.mark.parametrize(("arm", "core"), [("quantum", "quantum"), ("se", "se")])
def test_an_old_run_makes_the_images_that_it_made_then(old, arm, core):
    run = old(arm)
    with np.load(run.images_file) as file:
        before = file["images"]
    checkpoint = load_checkpoint(run.path)
    model = checkpoint.config.model
    assert (model.bottleneck.core.name, model.bottleneck.place, model.sees) == (core, "gate", ("image",))
    assert (model.condition, checkpoint.labels) == ("none", None)
    images = sample(run)
    # On another machine a value may fall on the other side of a rounding to 256 levels.
    assert np.abs(images.astype(int) - before.astype(int)).max() <= 1
    with np.load(run.images_file) as file:
        assert set(file.files) == {"images", "seeds"}


def test_an_old_run_is_resumed_to_the_weights_that_it_reached_then(old):
    run = old("quantum")
    shutil.rmtree(run.checkpoints / "step-6")
    train(run.config(), run.path, resume=True)
    for name in ("model", "ema"):
        before = load_file(OLD / "quantum" / "checkpoints" / "step-6" / f"{name}.safetensors")
        after = load_file(run.checkpoints / "step-6" / f"{name}.safetensors")
        assert len(after) == len(before)
        for key, value in before.items():
            # A bias before a normalization changes nothing: its gradient is rounding, which Adam scales up.
            if key.endswith(".conv.bias"):
                continue
            present = after[key.replace("bottleneck.layer.", "bottleneck.core.layer.")]
            torch.testing.assert_close(present, value, rtol=1e-4, atol=1e-5)


def test_one_line_tells_of_the_old_spelling_however_often_it_is_read(old, capsys):
    run = old("quantum")
    for _ in range(2):
        run.config()
        load_checkpoint(run.path)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["notice: `model.bottleneck: quantum` is the old spelling of `model.bottleneck: {core: quantum}`"]


def test_a_new_configuration_is_told_nothing(capsys, monkeypatch):
    monkeypatch.setattr(notices, "_told", set())
    build_config({"model": {"bottleneck": {"core": "se"}}})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("arm", ["quantum", "se", "plain", "published"])
def test_each_old_spelling_means_what_it_meant(arm, tmp_path):
    path = tmp_path / "old.yaml"
    path.write_text(f"model: {{bottleneck: {arm}}}")
    core = "none" if arm == "plain" else arm
    new = build_config({"model": {"bottleneck": {"core": core, "place": "gate", "sees": ["image"]}}})
    assert load_config(path) == new
    assert load_config(path, [f"model.bottleneck={arm}"]) == new


def test_an_old_spelling_of_no_arm_is_refused():
    with pytest.raises(ConfigError, match="`plane` is unknown"):
        build_config({"model": {"bottleneck": "plane"}})


def test_an_unconditional_checkpoint_cannot_be_asked_for_classes(old):
    run = old("quantum")
    before = run.images_file.read_bytes()
    settings = run.config().sampling
    with pytest.raises(ConfigError, match=r"sampling.classes: \[3\].*unconditional model"):
        sample(run, settings.model_copy(update={"classes": [3]}))
    with pytest.raises(ConfigError, match=r"guidance: 2.*without a condition"):
        sample(run, settings.model_copy(update={"guidance": 2.0}))
    assert run.images_file.read_bytes() == before
