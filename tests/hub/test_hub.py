"""Models as folders: the same images as the run, what the card says, what is refused."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from qiskit import qpy
from safetensors import safe_open

import qhybrid
from qhybrid.checkpoints.checkpoint import latest_checkpoint, load_checkpoint
from qhybrid.config import build_config
from qhybrid.errors import ConfigError, DataError, RunDirectoryError
from qhybrid.evaluation.evaluate import evaluate
from qhybrid.hub.folder import export, load_model
from qhybrid.sampling.generate import sample
from qhybrid.training.loop import train

SECTIONS = {
    "name": "tiny",
    "model": {"channels": [8, 8, 8], "time_dim": 16, "condition": "class", "bottleneck": {"place": "condition"}},
    "quantum": {"qubits": 2, "layers": 1},
    "training": {"steps": 12, "batch_size": 8, "log_every": 4, "learning_rate": 1e-2, "warmup_steps": 0},
    "sampling": {"images": 100, "steps": 3, "seed": 5},
    "evaluation": {"kid_subsets": 4, "reliance": {"images": 10, "test_images": 10, "time_bins": 2, "device": None}},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = train(build_config(SECTIONS), tmp_path_factory.mktemp("runs") / "run")
    sample(run)
    evaluate(run)
    return run


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    return export(run, tmp_path_factory.mktemp("models") / "tiny", license="apache-2.0")


def images(path):
    with np.load(path / "samples" / "images.npz") as file:
        return {name: file[name] for name in file.files}


def test_images_of_the_exported_model_are_those_of_the_run_bit_for_bit(run, folder, tmp_path, command):
    code, out, err = command("sample", folder, "--out", tmp_path / "drawn")
    assert code == 0, err
    assert "100 images" in out
    ours, theirs = images(tmp_path / "drawn"), images(run.path)
    assert ours.keys() == theirs.keys() == {"images", "seeds", "labels"}
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert np.array_equal(qhybrid.from_pretrained(folder).sample(), theirs["images"])
    # What is compared is no constant.
    assert theirs["images"].std() > 10


def test_weights_are_the_averaged_ones_and_the_circuit_is_the_runs(run, folder):
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    wanted = load_checkpoint(run.path).model.state_dict()
    assert stored.keys() == wanted.keys()
    assert all(torch.equal(stored[name], wanted[name]) for name in stored)
    circuits = [io.BytesIO((path / "circuit.qpy").read_bytes()) for path in (folder, latest_checkpoint(run))]
    assert qpy.load(circuits[0]) == qpy.load(circuits[1])


def test_a_class_is_asked_for_and_a_run_takes_an_out_as_well(run, folder, tmp_path, command):
    for source in (folder, run.path):
        out = tmp_path / source.name
        assert command("sample", source, "--class", "7", "--images", 3, "--out", out)[0] == 0
        assert images(out)["labels"].tolist() == [7, 7, 7]
    assert np.array_equal(*(images(tmp_path / source.name)["images"] for source in (folder, run.path)))
    assert images(run.path)["images"].shape == (100, 8, 8)
    code, _, err = command("sample", folder, "--out", run.path)
    assert code == 2
    assert "holds a run" in err


def test_the_card_is_read_by_the_hubs_own_reader_and_holds_the_numbers(run, folder):
    card = ModelCard.load(folder / "README.md")
    found = json.loads(run.evaluation_file.read_text())
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "qhybrid"
    results = {item.metric_type: item.metric_value for item in card.data.eval_results}
    assert results["kid"] == found["metrics"]["kid"]["value"]
    assert results["class_accuracy"] == found["metrics"]["class_accuracy"]["value"]
    assert found["reliance"]["statement"] in card.text
    for title in ("## Use", "## Data", "## How good it is", "## How much it relies on its circuit", "## Limits"):
        assert title in card.text
    row = next(line for line in card.text.splitlines() if line.startswith("| Class accuracy"))
    assert f"{found['metrics']['class_accuracy']['value']:.3g}" in row
    assert "| 100 |" in row
    assert (folder / "grid.png").read_bytes() == run.grid_file.read_bytes()


def test_a_run_that_was_not_judged_says_so_in_its_card(tmp_path):
    settings = {**SECTIONS, "model": {"channels": [8, 8, 8], "time_dim": 16, "bottleneck": {"core": "se"}}}
    run = train(build_config({**settings, "sampling": None, "evaluation": None}), tmp_path / "run")
    folder = export(run, tmp_path / "model")
    assert {path.name for path in folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    text = (folder / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["pipeline_tag"] == "unconditional-image-generation"
    assert "model-index" not in front
    assert "Nothing was measured" in text
    with pytest.raises(ConfigError, match="unconditional"):
        qhybrid.from_pretrained(folder).sample(classes=[1], images=1)


def test_places_on_the_makers_machine_are_not_in_the_folder(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "secret" / "set.npz"
    path.parent.mkdir()
    arrays = {f"{part}_images": rng.integers(0, 256, (40, 8, 8), dtype=np.uint8) for part in ("train", "test")}
    np.savez(path, **arrays, **{f"{part}_labels": np.arange(40) % 2 for part in ("train", "test")})
    data = {"name": "npz", "path": str(path), "root": str(tmp_path / "secret")}
    run = train(build_config({**SECTIONS, "data": data, "evaluation": None}), tmp_path / "run")
    sample(run)
    folder = export(run, tmp_path / "model")
    assert not [file for file in folder.rglob("*") if file.is_file() and b"secret" in file.read_bytes()]
    shutil.rmtree(path.parent)
    assert np.array_equal(qhybrid.from_pretrained(folder).sample(), images(run.path)["images"])


def test_what_is_no_model_is_refused_in_one_line(folder, run, tmp_path, command):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(RunDirectoryError, match="not empty"):
        export(run, tmp_path / "full")
    with pytest.raises(RunDirectoryError, match="no exported model"):
        load_model(tmp_path / "full")
    code, _, err = command("sample", tmp_path / "absent")
    assert code == 2
    assert "not a run directory" in err
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "model.safetensors").write_bytes(b"no weights")
    code, _, err = command("sample", broken)
    assert code == 2
    assert "model.safetensors" in err
    shutil.copy(folder / "model.safetensors", broken)
    (broken / "config.json").write_text('{"step": 1}')
    code, _, err = command("sample", broken)
    assert code == 2
    assert "does not fit this version" in err
    with pytest.raises(DataError, match="class 11"):
        qhybrid.from_pretrained(folder).sample(classes=[11], images=1)
