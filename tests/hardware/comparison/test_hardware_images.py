"""Images of a device beside their exact twins."""

import numpy as np
import pytest

from hardware.commands.tables import accuracy_words, image_words
from hardware.comparison.image_metrics import class_accuracies, compare_images, run_classifier
from qhybrid.config import DataConfig
from qhybrid.data import ImageData, load_data
from qhybrid.evaluation import features
from qhybrid.evaluation.features import FeatureExtractor, feature_extractor
from qhybrid.files import write_json
from qhybrid.rundir import RunDirectory


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load_data(DataConfig())


@pytest.fixture
def twins(digits: ImageData) -> np.ndarray:
    return digits.test[:20, ..., 0]


@pytest.fixture
def classifier(digits: ImageData, monkeypatch: pytest.MonkeyPatch) -> FeatureExtractor:
    """Enough training to tell digits apart."""
    monkeypatch.setattr(features, "_MIN_STEPS", 100)
    monkeypatch.setattr(features, "_MAX_STEPS", 100)
    return feature_extractor(digits)


def disturbed(twins: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(0, 255 * strength, twins.shape)
    return np.clip(twins + noise, 0, 255).astype(np.uint8)


def test_equal_images_do_not_differ(twins: np.ndarray, classifier: FeatureExtractor) -> None:
    found = compare_images(twins, twins, classifier)
    assert found == {"n": 20, "rms": 0.0, "ssim": 1.0, "same_class": 1.0, "feature_distance": 0.0}


def test_every_metric_tells_the_stronger_disturbance(
    twins: np.ndarray, classifier: FeatureExtractor, rng: np.random.Generator
) -> None:
    weak, strong = (compare_images(disturbed(twins, size, rng), twins, classifier) for size in (0.02, 0.4))
    assert 0 < weak["rms"] < 0.02 < 0.1 < strong["rms"]
    assert strong["ssim"] < 0.9 < weak["ssim"]
    assert strong["same_class"] < weak["same_class"] == 1.0
    assert weak["feature_distance"] < 0.2 < strong["feature_distance"]


def test_other_images_lie_about_one_away(twins: np.ndarray, classifier: FeatureExtractor) -> None:
    found = compare_images(np.roll(twins, 1, axis=0), twins, classifier)
    assert found["feature_distance"] == pytest.approx(1, abs=0.3)
    assert found["same_class"] < 0.5


def test_pixels_of_black_and_white_differ_by_one() -> None:
    black = np.zeros((3, 8, 8, 3), np.uint8)
    found = compare_images(black, black + 255, None)
    assert found["rms"] == 1.0
    assert found["ssim"] < 0.01
    assert (found["same_class"], found["feature_distance"]) == (None, None)
    assert "qhybrid evaluate" in image_words(found)


def test_one_image_has_no_other_to_be_compared_with(twins: np.ndarray, classifier: FeatureExtractor) -> None:
    found = compare_images(twins[:1], twins[:1], classifier)
    assert (found["same_class"], found["feature_distance"]) == (1.0, None)
    assert "distance in its features -" in image_words(found)


def test_an_image_with_several_labels_keeps_all_of_them(twins: np.ndarray, classifier: FeatureExtractor) -> None:
    from dataclasses import replace

    several = replace(classifier, multi_label=True)
    assert compare_images(twins, twins, several)["same_class"] == 1.0
    assert compare_images(np.roll(twins, 1, axis=0), twins, several)["same_class"] < 0.5


def test_the_classifier_is_that_of_the_runs_evaluation(run: RunDirectory, classifier: FeatureExtractor) -> None:
    assert run_classifier(run, (1, 8, 8)) is None
    write_json(run.evaluation_file, {"features": dict(classifier.record)})
    found = run_classifier(run, (1, 8, 8))
    assert found is not None
    assert found.record["hash"] == classifier.record["hash"]


def test_class_accuracy_is_the_share_that_the_classifier_sees(
    digits: ImageData, twins: np.ndarray, classifier: FeatureExtractor
) -> None:
    _, probabilities = classifier(twins[..., None])
    seen = probabilities.argmax(axis=1)
    asked = np.where(np.arange(len(seen)) < 5, (seen + 1) % 10, seen)
    found = class_accuracies({"exact": twins, "device": twins[::-1]}, asked, classifier)
    assert found is not None
    assert (found["n"], found["exact"]["value"]) == (20, 0.75)
    assert found["exact"]["interval"] == pytest.approx([0.5313, 0.8881], abs=1e-3)
    assert found["device"]["value"] == np.mean(seen[::-1] == asked)
    assert class_accuracies({"exact": twins}, None, classifier) is None
    assert class_accuracies({"exact": twins}, asked, None) is None
    assert "exact simulation 0.750 [0.531, 0.888]" in accuracy_words(found)
