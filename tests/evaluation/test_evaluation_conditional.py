import json

import numpy as np
import pytest

from qhybrid.config import EvaluationConfig
from qhybrid.errors import EvaluationError
from qhybrid.evaluation.conditional import Judged, class_metrics, mean_auc
from qhybrid.evaluation.evaluate import evaluate, summary_lines
from qhybrid.evaluation.metrics import kernel_distance
from qhybrid.evaluation.samples import asked_mix

CONFIG = EvaluationConfig(kid_subsets=20)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def seen(rng, labels, classes, correct, shift=0.0):
    """Images of given labels, each at its class's place in feature space; `correct[i]` is whether it is recognized."""
    choice = np.where(correct, labels, (labels + 1) % classes)
    centers = np.eye(classes, 6) * 4
    return Judged(centers[choice] + rng.normal(size=(len(labels), 6)) + shift, np.eye(classes)[choice], labels)


def test_class_accuracy_by_hand(rng, digits):
    labels = np.repeat([0, 1, 2], [40, 40, 20])
    correct = np.ones(100, bool)
    correct[:10] = correct[40:45] = False
    real_labels = np.repeat([0, 1, 2], [10, 50, 40])
    real_correct = np.ones(100, bool)
    real_correct[0] = real_correct[-10:] = False
    found = class_metrics(seen(rng, labels, 3, correct), seen(rng, real_labels, 3, real_correct), digits, CONFIG)
    entry = found["class_accuracy"]
    from scipy.stats import binomtest

    assert entry["value"] == 0.85
    assert entry["interval"] == pytest.approx(list(binomtest(85, 100).proportion_ci(method="wilson")), abs=1e-12)
    assert [entry["by_class"][name]["value"] for name in "012"] == [0.75, 35 / 40, 1.0]
    assert [entry["by_class"][name]["n_generated"] for name in "012"] == [40, 40, 20]
    assert [entry["by_class"][name]["floor"]["value"] for name in "012"] == [0.9, 1.0, 0.75]
    # Real images of each class, as often as asked for: 0.4 * 0.9 + 0.4 * 1 + 0.2 * 0.75.
    assert entry["floor"]["value"] == pytest.approx(0.91)
    effective = 1 / (0.4**2 / 10 + 0.4**2 / 50 + 0.2**2 / 40)
    low, high = entry["floor"]["interval"]
    assert low < 0.91 < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.91 * 0.09 / effective), rel=0.1)
    json.dumps(found, allow_nan=False)


def test_equal_mix_has_the_plain_accuracy_as_floor(rng, digits):
    labels = np.arange(90) % 3
    correct = rng.random(90) < 0.8
    entry = class_metrics(seen(rng, labels, 3, correct), seen(rng, labels, 3, correct), digits, CONFIG)
    floor = entry["class_accuracy"]["floor"]
    assert floor["value"] == pytest.approx(correct.mean())
    assert floor["interval"] == pytest.approx(entry["class_accuracy"]["interval"])


def test_kid_within_classes_sees_swapped_classes(rng, digits):
    labels, all_right = np.arange(120) % 3, np.ones(120, bool)
    real = seen(rng, labels, 3, all_right)
    good, swapped = seen(rng, labels, 3, all_right), seen(rng, labels, 3, ~all_right)
    assert abs(kernel_distance(swapped.features, real.features)) < 1  # the images as a whole look the same
    entry = class_metrics(good, real, digits, CONFIG)["class_kid"]
    wrong = class_metrics(swapped, real, digits, CONFIG)["class_kid"]
    by_hand = [kernel_distance(good.features[labels == label], real.features[labels == label]) for label in range(3)]
    assert entry["value"] == pytest.approx(np.mean(by_hand), abs=1e-12)
    assert [entry["by_class"][name]["value"] for name in "012"] == pytest.approx(by_hand, abs=1e-12)
    assert wrong["interval"][0] > entry["interval"][1]
    widths = [np.diff(entry["by_class"][name]["interval"])[0] for name in "012"]
    assert np.diff(entry["interval"])[0] == pytest.approx(np.sqrt(np.sum(np.square(widths))) / 3)


def test_kid_within_classes_says_where_images_do_not_suffice(rng, digits):
    labels = np.repeat([0, 1, 2], [30, 9, 30])
    real_labels = np.repeat([0, 1, 2], [30, 30, 8])
    judged = seen(rng, labels, 3, np.ones(69, bool)), seen(rng, real_labels, 3, np.ones(68, bool))
    entry = class_metrics(*judged, digits, CONFIG)["class_kid"]
    assert (entry["classes_measured"], entry["classes_left_out"]) == (1, ["1", "2"])
    assert entry["value"] == entry["by_class"]["0"]["value"]
    assert entry["by_class"]["1"]["reason"].startswith("9 generated and 30 real")
    assert entry["by_class"]["2"]["reason"].startswith("30 generated and 8 real")


def test_a_class_without_real_images_has_no_floor_and_no_kid(rng, digits):
    labels, real_labels = np.arange(40) % 2, np.zeros(40, np.int64)
    found = class_metrics(
        seen(rng, labels, 2, np.ones(40, bool)), seen(rng, real_labels, 2, np.ones(40, bool)), digits, CONFIG
    )
    assert found["class_accuracy"]["by_class"]["1"]["floor"]["value"] is None
    assert found["class_accuracy"]["floor"]["value"] == 1.0
    assert found["class_kid"]["classes_left_out"] == ["1"]


def test_labels_of_a_multi_label_set_are_judged_by_roc_area(rng, digits):
    labels = (rng.random((60, 3)) < 0.4).astype(np.int64)
    labels[:, 2] = 1  # carried by all: tells nothing
    probabilities = np.clip(0.4 * labels + rng.random((60, 3)) * 0.6, 0, 1)

    from sklearn.metrics import roc_auc_score

    probabilities[:20, 0] = 0.5  # ties
    expected = np.mean([roc_auc_score(labels[:, k], probabilities[:, k]) for k in range(2)])
    assert mean_auc(probabilities, labels) == pytest.approx(expected)
    judged = Judged(rng.normal(size=(60, 4)), probabilities, labels)
    found = class_metrics(judged, judged, digits, CONFIG)
    assert found["class_accuracy"]["value"] is None
    assert "label_auc" in found["class_accuracy"]["reason"]
    assert found["label_auc"]["value"] == pytest.approx(expected)
    assert found["label_auc"]["interval"][0] < expected < found["label_auc"]["interval"][1]
    assert found["label_auc"]["floor"]["value"] == pytest.approx(expected)
    assert found["class_kid"]["by_class"]["0"]["n_generated"] == labels[:, 0].sum()
    assert mean_auc(probabilities, np.ones((60, 3), np.int64)) is None
    json.dumps(found, allow_nan=False)


def test_reference_has_the_classes_as_often_as_asked_for(digits):
    counts = np.bincount(digits.test_labels)
    even = asked_mix(np.arange(1000) % 10, digits.test_labels, 0)
    assert np.ptp(np.bincount(digits.test_labels[even])) == 0
    assert len(even) == 10 * counts.min()
    assert len(np.unique(even)) == len(even)
    uneven = digits.test_labels[asked_mix(np.repeat([3, 7], [300, 100]), digits.test_labels, 0)]
    assert set(uneven) == {3, 7}
    assert (uneven == 3).sum() == counts[3]
    assert (uneven == 7).sum() == pytest.approx(counts[3] / 3, abs=1)


@pytest.fixture
def conditional_run(make_run):
    """A run whose samples carry labels."""

    def make(images, labels, **sections):
        run = make_run(images, **sections)
        np.savez(run.images_file, images=images[..., 0], seeds=np.arange(len(images)), labels=labels)
        return run

    return make


def test_real_images_with_their_own_labels_reach_the_floor(digits, cached, conditional_run):
    run = conditional_run(digits.val, digits.val_labels)
    result = evaluate(run)
    metrics = result["metrics"]
    assert metrics["class_accuracy"]["value"] > 0.96
    assert metrics["class_accuracy"]["floor"]["value"] > 0.97
    assert metrics["class_kid"]["classes_measured"] == 10
    low, high = metrics["class_kid"]["interval"]
    assert low < metrics["class_kid"]["floor"]["value"] < high
    trained = metrics["synthetic_training"]
    assert trained["n_train"] == len(digits.val)
    assert trained["value"] > 0.9
    assert trained["floor"]["value"] > 0.9
    text = "\n".join(summary_lines(result))
    assert "Class accuracy: 0.9" in text
    assert "Train on synthetic, test on real: 0.9" in text

    # The same images with labels of other images: as good as ever, and wrong.
    rng = np.random.default_rng(0)
    np.savez(
        run.images_file,
        images=digits.val[..., 0],
        seeds=np.arange(len(digits.val)),
        labels=rng.permutation(digits.val_labels),
    )
    wrong = evaluate(run)["metrics"]
    assert wrong["kid"]["value"] == metrics["kid"]["value"]
    assert wrong["class_accuracy"]["interval"][1] < 0.2
    assert wrong["class_kid"]["interval"][0] > metrics["class_kid"]["interval"][1]
    assert wrong["synthetic_training"]["value"] < 0.5
    assert wrong["synthetic_training"]["floor"] == trained["floor"]


def test_two_classes_asked_for_are_compared_with_real_images_of_the_two(digits, cached, conditional_run):
    some = np.isin(digits.val_labels, [3, 7])
    result = evaluate(conditional_run(digits.val[some], digits.val_labels[some]))
    assert result["classes"] == ["3", "7"]
    assert result["n_test"] <= np.isin(digits.test_labels, [3, 7]).sum()
    assert result["metrics"]["kid"]["interval"][0] < result["metrics"]["kid"]["floor"]["range"][1]
    assert result["metrics"]["class_histogram"]["classes_wanted"] == 2
    assert result["metrics"]["synthetic_training"]["value"] > 0.9


def test_labels_that_the_data_lacks_are_refused(digits, cached, conditional_run):
    run = conditional_run(digits.val[:20], np.full(20, 10))
    with pytest.raises(EvaluationError, match=r"from 10 to 10.*from 0 to 9"):
        evaluate(run)
    np.savez(run.images_file, images=digits.val[:20, ..., 0], seeds=np.arange(20), labels=np.zeros(19, np.int64))
    with pytest.raises(EvaluationError, match=r"\(19,\).*\(20,\)"):
        evaluate(run)
    np.savez(run.images_file, images=digits.val[:20, ..., 0], seeds=np.arange(20), labels=np.zeros(0, np.int64))
    with pytest.raises(EvaluationError, match=r"\(0,\), those of"):
        evaluate(run)
    assert not run.evaluation_file.exists()


def test_one_class_cannot_train_a_classifier(digits, cached, conditional_run):
    threes = digits.val[digits.val_labels == 3]
    result = evaluate(conditional_run(threes, np.full(len(threes), 3)))
    assert result["metrics"]["synthetic_training"]["value"] is None
    assert "nothing to tell apart" in result["metrics"]["synthetic_training"]["reason"]
