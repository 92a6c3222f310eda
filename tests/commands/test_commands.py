"""The command line as a user meets it: what it prints, where it exits, what it leaves behind."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from qhybrid.rundir import RunDirectory

TINY = {
    "name": "tiny",
    "model": {"channels": [8, 16, 24], "time_dim": 16},
    "quantum": {"qubits": 3, "layers": 1},
    "training": {"steps": 4, "batch_size": 8, "checkpoint_every": 2, "log_every": 2, "device": "cpu"},
}


@pytest.fixture
def config(tmp_path):
    """Write a configuration; keyword arguments replace sections of the tiny one."""

    def write(**sections):
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(TINY | sections))
        return path

    return write


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from qhybrid.config import build_config
    from qhybrid.training.loop import train

    return train(build_config(TINY), tmp_path_factory.mktemp("runs") / "trained")


def npz(path, *, keys=("train", "test"), n=30):
    rng = np.random.default_rng(0)
    arrays = {}
    for split in keys:
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, 8, 8), dtype=np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, 2, (n, 1))
    np.savez(path, **arrays)
    return path


def test_bad_input_ends_in_one_line_and_leaves_nothing(tmp_path, config, command):
    out = tmp_path / "run"
    altered = npz(tmp_path / "altered.npz")
    content = bytearray(altered.read_bytes())
    content[len(content) // 2] ^= 0xFF
    altered.write_bytes(content)
    pneumonia = tmp_path / "data" / "medmnist" / "pneumoniamnist.npz"
    pneumonia.parent.mkdir(parents=True)
    npz(pneumonia)
    (tmp_path / "file").touch()
    without_keys = npz(tmp_path / "keys.npz", keys=("test",))
    cases = [
        ({"trainings": {}}, [], ["trainings"]),
        ({"training": {"steps": "many"}}, [], ["training.steps", "many"]),
        ({"data": {"name": "mnits"}}, [], ["mnits", "mnist"]),
        ({"data": {"name": "mnist", "root": str(tmp_path / "none"), "download": False}}, [], ["train-images", "http"]),
        ({"data": {"name": "pneumoniamnist", "root": str(tmp_path / "data")}}, [], ["pneumoniamnist.npz", "MD5"]),
        ({"data": {"name": "npz", "path": str(altered)}}, [], ["altered.npz"]),
        ({"data": {"name": "npz", "path": str(without_keys)}}, [], ["keys.npz", "train_images"]),
        ({"data": {"name": "digits", "n_train": 5000}}, [], ["5000", "1259"]),
        ({"data": {"name": "digits", "classes": [3], "n_train": 500}}, [], ["500"]),
        ({"quantum": {"qubits": 0}}, [], ["quantum.qubits", "0"]),
        ({"quantum": {"qubits": 40}}, [], ["40 qubits", "TiB"]),
        ({"model": {"bottleneck": {"core": "published"}}}, [], ["allow_dead_parameters"]),
        ({}, ["--out", tmp_path / "file" / "run"], ["file/run"]),
        ({"hardware": {"backend": "fake_nowhere"}}, [], ["fake_nowhere"]),
        (
            {"quantum": {"noise": {"device": "fake_manila"}}, "hardware": {"backend": "fake_torino"}},
            [],
            ["quantum.noise.device: fake_manila", "hardware.backend: fake_torino", "another device"],
        ),
        ({"hardware": {"backend": "fake_manila", "budget_seconds": 0}}, [], ["hardware.budget_seconds", "0"]),
        ({}, ["--set", "training.stepz=3"], ["training.stepz"]),
    ]
    for sections, options, named in cases:
        path = config(**sections)
        before = sorted(tmp_path.rglob("*"))
        options = options or ["--out", out]
        code, _, err = command("run", path, *options)
        assert code == 2, (sections, err)
        line = err.strip().splitlines()
        assert len(line) == 1, (sections, err)
        assert line[0].startswith("error: ")
        for part in named:
            assert part.lower() in line[0].lower(), (sections, err)
        assert sorted(tmp_path.rglob("*")) == before, sections


def test_a_device_budget_of_zero_seconds_is_refused(trained, command):
    code, _, err = command("hardware", "plan", trained.path, "--backend", "fake_manila", "--budget-seconds", 0)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert "0" in err
    assert not trained.hardware.exists()


@pytest.mark.parametrize("folder", ["set #1", "~", "123", "@home", "null", "[x]"])
def test_the_data_root_is_a_path_and_no_yaml(tmp_path, config, command, folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = config(data={"name": "mnist", "download": False})
    code, out, err = command("train", path, "--data-root", folder if folder == "~" else f"data/{folder}")
    assert code == 2
    assert f"set data.root={folder if folder == '~' else f'data/{folder}'}" in out
    assert str(tmp_path.home() if folder == "~" else f"data/{folder}/MNIST") in err


@pytest.mark.parametrize("name", ["sample", "evaluate", "report"])
def test_a_folder_that_is_no_run_is_refused(tmp_path, command, name):
    code, _, err = command(name, tmp_path)
    assert code == 2
    assert "not a run directory" in err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_tells_and_writes_nothing(tmp_path, config, command):
    path = config(sampling={"images": 12, "steps": 5})
    code, out, _ = command("train", path, "--dry-run", "--out", tmp_path / "run", "--set", "training.steps=100000")
    assert code == 0
    assert "set training.steps=100000" in out
    assert "steps: 100000" in out
    # The U-Net alone, the linear maps (24 x 3 + 3 and 3 x 24 + 24), and what each core has of its own.
    network, linear = int(re.search(r"parameters, none: ([\d,]+) \(unet", out)[1].replace(",", "")), 171
    own = {"quantum": 6, "quantum_frozen": 0, "quantum_product": 6, "se": 0, "se_frozen": 0, "sine": 12, "fourier": 6}
    for core, count in own.items():
        assert f"parameters, {core}: {network + linear + count:,} (" in out
    assert "parameters, published:" in out
    assert [line.split()[1] for line in out.splitlines() if "<- this run" in line] == ["quantum:"]
    assert "ms a step" in out
    assert "sampling: 12 images in 5 steps: about 0 s" in out
    assert not (tmp_path / "run").exists()


def test_samples_are_the_same_in_any_batch(trained, command):
    def images(*options):
        code, _, err = command("sample", trained.path, *options)
        assert code == 0, err
        with np.load(trained.images_file) as file:
            return dict(file)

    whole = images("--images", 12, "--steps", 5, "--seed", 7)
    assert whole["images"].shape == (12, 8, 8)
    assert whole["images"].dtype == np.uint8
    assert whole["seeds"].tolist() == list(range(7, 19))
    assert trained.grid_file.read_bytes()[:4] == b"\x89PNG"
    alone = images("--images", 1, "--steps", 5, "--seed", 10)
    assert np.array_equal(alone["images"][0], whole["images"][3])
    assert not np.array_equal(whole["images"][0], whole["images"][1])
    code, _, err = command("sample", trained.path, "--sampler", "euler")
    assert code == 2
    assert "euler" in err
    assert "unipc" in err


def test_classes_are_asked_for_by_number(tmp_path, config, command):
    model = TINY["model"] | {"condition": "class"}
    path = config(model=model, data={"name": "digits", "classes": [3, 5, 7], "n_train": 30})
    out = tmp_path / "run"
    code, _, err = command("train", path, "--out", out)
    assert code == 0, err
    for options, labels in ((("--class", "3,7"), [3, 7, 3, 7]), ((), [3, 5, 7, 3])):
        code, _, err = command("sample", out, "--images", 4, "--steps", 2, *options)
        assert code == 0, err
        with np.load(out / "samples" / "images.npz") as file:
            assert file["labels"].tolist() == labels
    for options, named in (
        (("--class", "8"), ["class 8", "3, 5, 7"]),
        (("--class", "three"), ["--class `three`", "3,7"]),
        (("--class", ""), ["--class ``"]),
        (("--guidance", "-1"), ["guidance", "-1"]),
    ):
        code, _, err = command("sample", out, *options)
        assert code == 2
        assert err.count("error:") == 1
        assert all(part in err for part in named), err


def test_an_unconditional_run_cannot_be_asked_for_classes(trained, command):
    for options in (("--class", "3"), ("--guidance", "2")):
        code, _, err = command("sample", trained.path, *options)
        assert code == 2
        assert "model.condition: class" in err


def test_inspect_shows_the_circuit_and_its_dead_parameters(config, command):
    code, out, _ = command("inspect", config(model={"bottleneck": {"core": "published"}}))
    assert code == 0
    assert "48" in out
    assert "dead" in out.lower()
    code, out, _ = command("inspect", config())
    assert code == 0
    assert "q_2" in out


def test_doctor_tells_versions_and_no_token(command, monkeypatch):
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "do-not-show-me")
    code, out, err = command("doctor")
    assert code == 0
    assert "torch" in out
    assert "do-not-show-me" not in out + err


def test_help_names_every_group():
    # That it answers at once is the matter of test_architecture: nothing heavy is imported for it.
    answer = subprocess.run([sys.executable, "-m", "qhybrid", "--help"], capture_output=True, text=True)
    assert answer.returncode == 0
    for group in ("run", "train", "noise", "bench", "hardware"):
        assert group in answer.stdout


def test_the_whole_way_in_one_command(tmp_path, config, command):
    path = config(
        training=TINY["training"] | {"steps": 20, "learning_rate": 3e-3},
        sampling={"images": 60, "steps": 5},
        evaluation={"kid_subsets": 5, "kid_subset_size": 20},
        hardware={"backend": "fake_torino", "images": 2, "steps": 3, "qpu_steps": [1], "shots": 64, "pack": 1},
        report=True,
    )
    out = tmp_path / "run"
    code, said, err = command("run", path, "--out", out)
    assert code == 0, err
    assert "fake_torino" in said
    run = RunDirectory.open(out)
    metrics = json.loads(run.evaluation_file.read_text())
    assert metrics["primary_metric"] == "kid"
    assert metrics["n_generated"] == 60
    plan = json.loads((run.hardware / "plan.json").read_text())
    assert {"backend", "mode", "jobs", "shots", "executions", "seconds", "budget_seconds"} <= plan.keys()
    assert plan["executions"] == 2 * 64
    comparison = json.loads((run.hardware / "comparison.json").read_text())
    assert comparison
    page = run.report_file.read_text()
    assert "fake_torino" in page
    assert "data:image/png;base64" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    # Resuming a finished run repeats nothing and changes nothing.
    images = run.images_file.read_bytes()
    weights = (run.checkpoints / "step-20" / "model.safetensors").read_bytes()
    code, _, err = command("run", path, "--out", out, "--resume")
    assert code == 0, err
    assert (run.checkpoints / "step-20" / "model.safetensors").read_bytes() == weights
    assert run.images_file.read_bytes() == images


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["train"], "error: Missing argument 'CONFIG': `qhybrid train --help` shows what it takes"),
        (["train", "x.yaml", "--step", "3"], "error: No such option: --step"),
        (["hardware", "plann"], "error: No such command 'plann'"),
        (
            ["study", "x.yaml", "--jobs", "0"],
            "error: Invalid value for '--jobs': Input should be greater than or equal to 1",
        ),
        (["bench", "layer", "--qubits"], "error: Option '--qubits' requires an argument"),
    ],
)
def test_a_wrong_command_line_is_one_line(command, arguments, line):
    code, said, error = command(*arguments)
    assert (code, said) == (2, "")
    assert error.startswith(line)
    assert len(error.splitlines()) == 1
    assert "--help` shows what it takes" in error


def test_help_without_a_command_is_the_help(command):
    code, said, error = command()
    assert code == 2
    assert "Usage: qhybrid" in said + error


def test_a_run_is_no_study_and_a_study_no_run(command, root):
    code, _, error = command("study", root / "configs" / "quickstart.yaml")
    assert code == 2
    assert "is the configuration of one run: `qhybrid run` takes it" in error
    code, _, error = command("run", root / "configs" / "studies" / "core.yaml")
    assert code == 2
    assert "is a study, which `qhybrid study` takes" in error


def test_what_the_memory_cannot_hold_is_one_line(command, tmp_path, monkeypatch):
    """More images than are allowed, and where no bound could have known: a tensor too large."""
    code, _, error = command("sample", "digits", "--images", 10**15, "--out", tmp_path / "out")
    assert code == 2
    assert "`images` is 1000000000000000" in error
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr("qhybrid.sampling.generate.generate", lambda *_, **__: torch.empty(2**55))
    code, _, error = command("sample", "digits", "--images", 10, "--out", tmp_path / "out")
    assert code == 2
    assert error.splitlines()[-1].startswith("error: the memory of this machine does not suffice")
