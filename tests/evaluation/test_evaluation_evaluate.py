import json

import numpy as np
import pytest

from qhybrid.config import EvaluationConfig
from qhybrid.errors import EvaluationError, RunDirectoryError
from qhybrid.evaluation.evaluate import evaluate, summary_lines


def blur(images, rng):
    """Real images made worse."""
    return np.clip(images + rng.normal(0, 60, images.shape), 0, 255).astype(np.uint8)


def test_real_images_reach_the_floor_and_noisy_ones_do_not(digits, cached, make_run, tmp_path):
    rng = np.random.default_rng(2)
    run = make_run(digits.val)
    real = evaluate(run)
    assert json.loads(run.evaluation_file.read_text()) == real
    assert real["primary_metric"] == "kid"
    assert real["features"]["accuracy"] > 0.97
    assert len(real["features"]["hash"]) == 64
    kid = real["metrics"]["kid"]
    assert (kid["n_generated"], kid["n_real"], kid["confidence"]) == (len(digits.val), 359, 0.95)
    assert kid["interval"][0] < kid["value"] < kid["interval"][1]
    assert kid["floor"]["n_per_side"] == 179
    assert real["metrics"]["class_histogram"]["classes_present"] == 10
    assert real["metrics"]["density"]["value"] == pytest.approx(1, abs=0.15)
    assert real["metrics"]["coverage"]["value"] > 0.85  # 0.875 expected for k = 3 and samples of one law
    assert real["metrics"]["mean_top_probability"]["value"] > 0.95

    np.savez(run.images_file, images=blur(digits.val, rng)[..., 0], seeds=np.arange(len(digits.val)))
    noisy = evaluate(run)["metrics"]
    assert noisy["kid"]["value"] > kid["value"]
    assert noisy["kid"]["floor"]["generated_at_same_n"] > noisy["kid"]["floor"]["value"]
    assert noisy["density"]["interval"][1] < real["metrics"]["density"]["value"]
    assert noisy["coverage"]["value"] < noisy["coverage"]["floor"]["value"]
    assert noisy["fid"]["value"] > 1.5 * real["metrics"]["fid"]["value"]
    assert noisy["mean_top_probability"]["value"] < real["metrics"]["mean_top_probability"]["value"]


def test_same_seed_same_result(digits, cached, make_run):
    run = make_run(digits.val)
    first, second = evaluate(run), evaluate(run)
    assert first["metrics"] == second["metrics"]
    other = evaluate(run, config=EvaluationConfig(kid_subsets=20, kid_subset_size=50))
    assert other["metrics"]["kid"]["value"] == first["metrics"]["kid"]["value"]
    assert other["metrics"]["kid"]["interval"] != first["metrics"]["kid"]["interval"]


def test_copies_are_reported(digits, cached, make_run):
    from qhybrid.data import load_data

    run = make_run(digits.val[:20], data={"n_train": 100})
    copies = load_data(run.config().data).train
    np.savez(run.images_file, images=copies[..., 0], seeds=np.arange(100))
    metrics = evaluate(run)["metrics"]
    assert metrics["memorisation_share"]["value"] == 1.0
    assert metrics["memorisation_share"]["floor"]["value"] < 0.6
    assert metrics["memorisation_ratio"]["value"] == 0.0
    # A copy machine does as well as what it copies.
    assert metrics["kid"]["training_images"]["value"] == pytest.approx(metrics["kid"]["value"], abs=1e-12)
    assert metrics["kid"]["training_images"]["n"] == 100


def test_a_data_set_whose_parts_differ_is_seen(digits, cached, tmp_path, make_run):
    """Test images of other cameras: not even the training images reach the floor, and evaluation says by how much."""
    darker = {"test_images": (digits.test[..., 0] * 0.4).astype(np.uint8)}
    for part in ("train", "val", "test"):
        images, labels = getattr(digits, part)[..., 0], getattr(digits, f"{part}_labels")
        darker = {f"{part}_images": images, f"{part}_labels": labels[:, None]} | darker
    np.savez(tmp_path / "darker.npz", **darker)
    run = make_run(digits.val[:100], data={"name": "npz", "path": str(tmp_path / "darker.npz")})
    result = evaluate(run)
    kid = result["metrics"]["kid"]
    own = kid["training_images"]
    assert own["n"] == len(digits.train)
    assert own["interval"][0] > kid["floor"]["value"] + 0.1
    assert f"its training images: {own['value']:.4g}" in "\n".join(summary_lines(result))
    assert (run.path / "evaluation" / "nearest.png").stat().st_size > 1000


def test_few_images_of_one_class_say_what_cannot_be_measured(digits, cached, make_run):
    run = make_run(digits.val[digits.val_labels == 3], data={"classes": [3]})
    result = evaluate(run)
    assert result["classes"] == ["3"]
    assert result["metrics"]["fid"]["value"] is None
    assert "at least 65" in result["metrics"]["fid"]["reason"]
    assert result["metrics"]["class_histogram"]["generated"]["3"] >= 16
    lines = summary_lines(result)
    assert any(line.startswith("KID: ") and "real images" in line for line in lines)
    assert any(line.startswith("FID: not measured") for line in lines)


def test_a_missing_class_shows(digits, cached, make_run):
    metrics = evaluate(make_run(digits.train[digits.train_labels != 3]))["metrics"]
    histogram = metrics["class_histogram"]
    assert histogram["generated"]["3"] <= 5
    assert histogram["value"] == pytest.approx(0.1, abs=0.03)
    assert histogram["interval"][0] > histogram["floor"]["range"][1]
    assert histogram["interval"][0] <= histogram["value"] <= histogram["interval"][1]


def test_bad_samples_are_refused_before_anything_is_trained(digits, make_run, monkeypatch, tmp_path):
    monkeypatch.setenv("QHYBRID_CACHE", str(tmp_path / "none"))
    run = make_run(digits.val[:9])
    with pytest.raises(EvaluationError, match=r"9 generated images, at least 10.*sampling\.images"):
        evaluate(run)
    np.savez(run.images_file, images=np.zeros((20, 28, 28), np.uint8), seeds=np.arange(20))
    with pytest.raises(EvaluationError, match=r"\(28, 28, 1\).*\(8, 8, 1\)"):
        evaluate(run)
    run.images_file.write_bytes(b"PK nonsense")
    with pytest.raises(RunDirectoryError, match="cannot be read"):
        evaluate(run)
    run.images_file.unlink()
    with pytest.raises(RunDirectoryError, match="qhybrid sample"):
        evaluate(run)
    assert not run.evaluation_file.exists()
    assert not (tmp_path / "none").exists()
