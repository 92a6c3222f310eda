"""A run in TensorBoard, MLflow and Weights & Biases, read back by their own readers."""

import importlib.util
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import yaml

from qhybrid.files import read_jsonl
from qhybrid.tracking import tracked

SETTINGS = {
    "name": "watched",
    "data": {"name": "digits", "n_train": 60},
    "model": {"channels": [8, 16, 16], "bottleneck": {"core": "se"}},
    "training": {"steps": 8, "batch_size": 8, "log_every": 2, "checkpoint_every": 4, "warmup_steps": 0},
    "sampling": {"images": 20, "steps": 2},
    "evaluation": {"kid_subsets": 5, "kid_subset_size": 10, "reliance": None},
    "report": True,
}


def qhybrid(folder, *arguments, **variables):
    """The program in a process of its own, since trackers keep their state in the process."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "WANDB_MODE": "offline"}
    return subprocess.run(
        [sys.executable, "-m", "qhybrid", *map(str, arguments)],
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
    )


def configuration(folder, *trackers):
    path = folder / "watched.yaml"
    path.write_text(yaml.safe_dump(SETTINGS | {"tracking": {"trackers": list(trackers), "project": "digits"}}))
    return path


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A run of every stage, its images sampled once more by a later command."""
    folder = tmp_path_factory.mktemp("watched")
    path = configuration(folder, "tensorboard", "mlflow")
    answer = qhybrid(folder, "run", path, "--out", "run")
    assert answer.returncode == 0, answer.stderr
    answer = qhybrid(folder, "sample", "run", "--seed", 5)
    assert answer.returncode == 0, answer.stderr
    return folder


def scalars_of(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
        found.Reload()
    return found


def test_tensorboard_holds_the_losses_metrics_and_images(watched):
    log = read_jsonl(watched / "run" / "train.jsonl")
    found = scalars_of(watched / "run" / "tracking" / "digits")
    losses = found.Scalars("loss")
    assert [event.step for event in losses] == [row["step"] for row in log] == [2, 4, 6, 8]
    assert [event.value for event in losses] == pytest.approx([row["loss"] for row in log], rel=1e-6)
    norms = [event.value for event in found.Scalars("gradient_norm/unet")]
    assert norms == pytest.approx([row["gradient_norm"]["unet"] for row in log], rel=1e-6)
    metrics = json.loads((watched / "run" / "evaluation.json").read_text())["metrics"]
    (kid,) = found.Scalars("evaluation/kid")
    assert (kid.step, kid.value) == (8, pytest.approx(metrics["kid"]["value"], rel=1e-6))
    # Two commands sampled, each from the model of step 8.
    assert [image.step for image in found.Images("grid")] == [8, 8]


def test_mlflow_holds_one_run_with_configuration_metrics_and_files(watched):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{watched}/mlflow.db")
        (experiment,) = client.search_experiments(filter_string="name = 'digits'")
        (run,) = client.search_runs([experiment.experiment_id])
        history = client.get_metric_history(run.info.run_id, "loss")
        files = {item.path for item in client.list_artifacts(run.info.run_id)}
    log = read_jsonl(watched / "run" / "train.jsonl")
    assert [(entry.step, entry.value) for entry in history] == [
        (row["step"], pytest.approx(row["loss"], rel=1e-6)) for row in log
    ]
    assert run.data.params["training.steps"] == "8"
    assert run.data.params["model.bottleneck.core"] == "se"
    assert files >= {"grid.png", "evaluation.json", "report.html"}


def test_a_resumed_training_goes_on_in_the_same_run_of_each(watched, tmp_path):
    """As after a kill behind the checkpoint of step 4: steps 6 and 8 are told once more, and shown once."""
    from shutil import copytree, rmtree

    copytree(watched / "run", tmp_path / "run")
    rmtree(tmp_path / "run" / "checkpoints" / "step-8")
    path = configuration(tmp_path, "tensorboard", "mlflow")
    database = f"sqlite:///{tmp_path}/mlflow.db"
    (tmp_path / "mlflow.db").write_bytes((watched / "mlflow.db").read_bytes())
    answer = qhybrid(tmp_path, "train", path, "--out", "run", "--resume", MLFLOW_TRACKING_URI=database)
    assert answer.returncode == 0, answer.stderr
    losses = scalars_of(tmp_path / "run" / "tracking" / "digits").Scalars("loss")
    assert [event.step for event in losses] == [2, 4, 6, 8]
    before = json.loads((watched / "run" / "tracking" / "runs.json").read_text())
    after = json.loads((tmp_path / "run" / "tracking" / "runs.json").read_text())
    assert before["mlflow"]["run_id"] == after["mlflow"]["run_id"]


def test_weights_and_biases_offline_stays_in_the_run_directory(tmp_path):
    path = configuration(tmp_path, "wandb")
    answer = qhybrid(tmp_path, "train", path, "--out", "run")
    assert answer.returncode == 0, answer.stderr
    (kept,) = (tmp_path / "run" / "tracking").rglob("*.wandb")
    identity = json.loads((tmp_path / "run" / "tracking" / "runs.json").read_text())["wandb"]["id"]
    assert identity in kept.name
    assert identity == json.loads((tmp_path / "run" / "meta.json").read_text())["id"]


def test_a_tracker_that_is_not_installed_is_one_line_before_the_training(tmp_path, command, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        tracked.importlib.util, "find_spec", lambda name, *rest: None if name == "wandb" else real(name, *rest)
    )
    code, _, error = command("train", configuration(tmp_path, "wandb"), "--out", tmp_path / "run")
    assert code == 2
    assert error.splitlines() == [
        "error: `tracking.trackers` names wandb, not installed here: pip install wandb",
    ]
    assert not (tmp_path / "run").exists()


def test_a_tracker_that_cannot_be_opened_stops_the_training_and_no_later_stage(watched, tmp_path):
    path = configuration(tmp_path, "mlflow")
    answer = qhybrid(tmp_path, "train", path, "--out", "run", MLFLOW_TRACKING_URI="nonsense://nowhere")
    assert answer.returncode == 2
    assert answer.stderr.strip().splitlines()[-1].startswith("error: the tracker mlflow cannot be opened: ")
    answer = qhybrid(watched, "sample", "run", "--seed", 9, MLFLOW_TRACKING_URI="nonsense://nowhere")
    assert answer.returncode == 0
    assert "this stage is not tracked: the tracker mlflow cannot be opened: " in answer.stderr
    with np.load(watched / "run" / "samples" / "images.npz") as kept:
        assert kept["seeds"][0] == 9
