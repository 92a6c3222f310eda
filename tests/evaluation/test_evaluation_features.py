import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from qhybrid.errors import EvaluationError
from qhybrid.evaluation import features
from qhybrid.evaluation.classifier import Classifier
from qhybrid.evaluation.features import feature_extractor, stored_extractor


def no_training(*arguments):
    raise AssertionError("the classifier was trained again")


def test_classifier_knows_the_digits_and_comes_back_from_the_cache(digits, cached, monkeypatch):
    trained = feature_extractor(digits)
    assert trained.record["accuracy"] > 0.97
    monkeypatch.setattr(features, "_train", no_training)
    again = feature_extractor(digits)
    assert again.cached
    assert again.record == trained.record
    images = digits.test[:50]
    assert np.array_equal(trained(images)[0], again(images)[0])


def test_the_classifier_of_an_evaluation_is_found_again_without_the_data_set(digits, cached, tmp_path, monkeypatch):
    trained = feature_extractor(digits)
    again = stored_extractor(trained.record, channels=1, image_size=8)
    images = digits.test[:50]
    for ours, theirs in zip(again(images), trained(images), strict=True):
        assert np.array_equal(ours, theirs)
    other = {**trained.record, "hash": "0" * 64}
    assert stored_extractor(other, channels=1, image_size=8) is None
    monkeypatch.setenv("QHYBRID_CACHE", str(tmp_path))
    assert stored_extractor(trained.record, channels=1, image_size=8) is None


def test_features_are_standardized_on_real_training_images(digits, cached):
    x, probabilities = feature_extractor(digits)(digits.train)
    assert x.dtype == np.float64
    assert np.allclose(x.mean(axis=0), 0, atol=1e-5)
    spread = x.std(axis=0)
    assert np.allclose(spread[spread > 1e-2], 1, atol=1e-2)
    assert np.allclose(probabilities.sum(axis=1), 1)


@pytest.fixture
def brief(monkeypatch):
    """Few training steps, where accuracy does not matter."""
    monkeypatch.setattr(features, "_MIN_STEPS", 5)
    monkeypatch.setattr(features, "_MAX_STEPS", 5)


def test_training_is_deterministic_and_leaves_the_global_generator_alone(digits, brief, tmp_path, monkeypatch):
    hashes = []
    for run, seed in (("a", 0), ("b", 0), ("c", 1)):
        monkeypatch.setenv("QHYBRID_CACHE", str(tmp_path / run))
        torch.manual_seed(len(hashes))
        expected = torch.get_rng_state()
        hashes.append(feature_extractor(digits, seed=seed).record["hash"])
        assert torch.equal(torch.get_rng_state(), expected)
    assert hashes[0] == hashes[1] != hashes[2]


def test_damaged_cache_is_replaced(digits, brief, tmp_path, monkeypatch):
    monkeypatch.setenv("QHYBRID_CACHE", str(tmp_path))
    first = feature_extractor(digits)
    (file,) = (tmp_path / "features").iterdir()
    content = file.read_bytes()
    for damaged in (content[:100], content[:-4] + b"\0\0\0\1"):
        file.write_bytes(damaged)
        again = feature_extractor(digits)
        assert not again.cached
        assert again.record["hash"] == first.record["hash"]


def test_a_cache_without_what_it_should_hold_is_replaced(digits, brief, tmp_path, monkeypatch):
    monkeypatch.setenv("QHYBRID_CACHE", str(tmp_path))
    first = feature_extractor(digits)
    (file,) = (tmp_path / "features").iterdir()
    tensors = load_file(file)
    fewer = {name: tensor for name, tensor in tensors.items() if name != "feature_mean"}
    wider = tensors | {"head.bias": torch.zeros(3)}
    for content, record in (
        (tensors, []),
        (tensors, {}),
        (fewer, {"hash": features.weights_hash(fewer)}),
        (wider, {"hash": features.weights_hash(wider)}),
    ):
        save_file(content, file, metadata={"record": json.dumps(record)})
        assert features.stored_extractor(first.record | {"hash": "x"}, channels=1, image_size=8) is None
        again = feature_extractor(digits)
        assert not again.cached
        assert again.record["hash"] == first.record["hash"]


def test_another_data_set_gets_its_own_classifier(digits, brief, tmp_path, monkeypatch):
    monkeypatch.setenv("QHYBRID_CACHE", str(tmp_path))
    feature_extractor(digits)
    assert not feature_extractor(replace(digits, checksum="another")).cached


def test_multi_label_sets_are_trained_label_by_label(digits, brief, tmp_path, monkeypatch):
    monkeypatch.setenv("QHYBRID_CACHE", str(tmp_path))
    labels = {
        f"{split}_labels": np.eye(10, dtype=np.int64)[getattr(digits, f"{split}_labels")]
        for split in ("train", "val", "test", "unused")
    }
    extractor = feature_extractor(replace(digits, **labels))
    assert extractor.multi_label
    assert not np.allclose(extractor(digits.test)[1].sum(axis=1), 1)


def test_one_class_is_refused(digits, cached):
    one = replace(
        digits,
        class_names=("only",),
        **{f"{split}_labels": getattr(digits, f"{split}_labels") * 0 for split in ("train", "val", "test", "unused")},
    )
    with pytest.raises(EvaluationError, match="1 class"):
        feature_extractor(one)


def test_without_a_cache_the_classifier_is_used_and_not_kept(digits, brief, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QHYBRID_CACHE", str(tmp_path / "file"))
    assert not feature_extractor(digits).cached
    assert not feature_extractor(digits).cached
    said = [line for line in capsys.readouterr().err.splitlines() if "not kept" in line]
    assert len(said) == 1
    assert "QHYBRID_CACHE" in said[0]


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (1, 28), (3, 28), (3, 64), (3, 128), (3, 224)])
def test_network_takes_every_size(channels, side):
    network = Classifier(channels, side, 5).eval()
    with torch.no_grad():
        features_, logits = network(torch.zeros(2, channels, side, side))
    assert features_.shape == (2, features.FEATURE_DIM)
    assert logits.shape == (2, 5)
