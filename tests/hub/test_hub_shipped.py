"""The model that comes with the package: small, without a network connection, and its digits are those asked for."""

import json
import socket

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import qhybrid
from qhybrid.config import build_config, load_config
from qhybrid.errors import RunDirectoryError
from qhybrid.hub.pretrained import shipped


@pytest.fixture
def offline(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def judge():
    """A classifier that shares nothing with the package's own: support vectors on the pixels."""
    images, labels = load_digits(return_X_y=True)
    return SVC(gamma=0.001).fit(images[:1200], labels[:1200])


def test_it_is_small_and_was_made_by_the_committed_configuration(root):
    folder = root / "qhybrid" / "hub" / "models" / "digits"
    assert (folder / "model.safetensors").stat().st_size < 1_000_000
    # Keys that came later have their defaults.
    stored = build_config(json.loads((folder / "config.json").read_text())["config"])
    assert stored == load_config(root / "configs" / "shipped_digits.yaml")
    assert "configs/shipped_digits.yaml" in (folder.parent / "README.md").read_text()


def test_its_card_is_that_of_its_evaluation(root):
    folder = root / "qhybrid" / "hub" / "models" / "digits"
    accuracy = json.loads((folder / "evaluation.json").read_text())["metrics"]["class_accuracy"]
    assert accuracy["n_generated"] == 1000
    card = (folder / "README.md").read_text()
    assert f"{accuracy['value']:.1%} of 1,000 images show the class asked for" in card


def test_sevens_are_asked_for_by_its_name(tmp_path, monkeypatch, command, offline, judge):
    monkeypatch.chdir(tmp_path)
    code, out, err = command("sample", "digits", "--class", "7", "--out", "sevens")
    assert code == 0, err
    assert "20 images" in out
    with np.load(tmp_path / "sevens" / "samples" / "images.npz") as file:
        images = file["images"]
        assert file["labels"].tolist() == [7] * 20
    assert (judge.predict(images.reshape(20, 64) / 255 * 16) == 7).mean() > 0.7
    code, out, err = command("sample", "digits", "--images", 2, "--steps", 2)
    assert code == 0, err
    assert len(list(tmp_path.glob("runs/digits-*/samples/images.npz"))) == 1


def test_all_classes_are_told_apart_by_a_classifier_of_another_kind(offline, judge):
    images = qhybrid.from_pretrained("digits").sample(images=200)
    asked = np.arange(200) % 10
    # The package's own classifier found 0.956 of 1,000; five standard errors of 200 below it.
    assert (judge.predict(images.reshape(200, 64) / 255 * 16) == asked).mean() > 0.88


def test_an_unknown_name_is_told_which_there_are():
    assert shipped() == ["digits"]
    with pytest.raises(RunDirectoryError, match="with the package come: digits"):
        qhybrid.from_pretrained("letters")
