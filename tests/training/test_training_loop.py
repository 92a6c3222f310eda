import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from qhybrid.checkpoints.checkpoint import latest_checkpoint, load_checkpoint
from qhybrid.config import build_config, dump_config
from qhybrid.diffusion.noise import GaussianNoise
from qhybrid.errors import ConfigError, RunDirectoryError, TrainingError
from qhybrid.files import read_jsonl
from qhybrid.rundir import RunDirectory
from qhybrid.training.loop import train


def config(**training):
    return build_config(
        {
            "name": "test",
            "data": {"n_train": 40},
            "model": {"channels": [8, 16, 24], "time_dim": 16},
            "quantum": {"qubits": 3, "layers": 1},
            "training": {
                "steps": 30,
                "batch_size": 8,
                "learning_rate": 3e-3,
                "warmup_steps": 5,
                "log_every": 7,
                "checkpoint_every": 10,
                "threads": 1,
            }
            | training,
        }
    )


def weights(run):
    folder = latest_checkpoint(run)
    return {name: load_file(folder / f"{name}.safetensors") for name in ("model", "ema")}


def assert_same_weights(first, second):
    for part in ("model", "ema"):
        assert first[part].keys() == second[part].keys()
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), (part, name)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return train(config(), tmp_path_factory.mktemp("runs") / "whole")


def test_a_run_leaves_what_the_contract_names(uninterrupted):
    run = uninterrupted
    assert run.config() == config()
    assert [path.name for path in sorted(run.checkpoints.iterdir())] == ["step-20", "step-30"]
    files = {path.name for path in latest_checkpoint(run).iterdir()}
    assert files == {"model.safetensors", "ema.safetensors", "training_state.pt", "circuit.qpy", "meta.json"}
    rows = read_jsonl(run.train_log)
    assert [row["step"] for row in rows] == [7, 14, 21, 28, 30]
    assert rows[1]["images_seen"] == 14 * 8
    assert rows[0]["gradient_norm"].keys() == {"unet", "bottleneck", "circuit"}
    assert rows[0]["learning_rate"] == pytest.approx(3e-3)


def test_the_averaged_weights_lag_behind(uninterrupted):
    parts = weights(uninterrupted)
    assert not torch.equal(parts["model"]["head.weight"], parts["ema"]["head.weight"])
    assert float(parts["ema"]["head.weight"].abs().max()) > 0


def test_the_loss_falls(tmp_path):
    run = train(config(steps=150, batch_size=32, log_every=30), tmp_path / "run")
    losses = [row["loss"] for row in read_jsonl(run.train_log)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.fixture
def goes_on(command, tmp_path, uninterrupted):
    """An interrupted run is refused without `--resume`, and with it ends as the uninterrupted one."""

    def check(arguments):
        assert not (tmp_path / "run" / "checkpoints" / "step-30").exists()
        code, _, said = command(*arguments)
        assert code == 2
        assert "--resume" in said
        code, _, said = command(*arguments, "--resume")
        assert code == 0, said
        run = RunDirectory.open(tmp_path / "run")
        assert_same_weights(weights(run), weights(uninterrupted))
        rows, whole = read_jsonl(run.train_log), read_jsonl(uninterrupted.train_log)
        for row in (*rows, *whole):
            del row["seconds"]
        assert rows == whole

    return check


@pytest.fixture
def arguments(tmp_path):
    (tmp_path / "config.yaml").write_text(dump_config(config()))
    return ["train", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "run")]


def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path, arguments, goes_on):
    # Stretched so that the signal comes in the middle: every step waits a little in the noise source.
    slow = (
        "import sys, time; import qhybrid.diffusion.noise as n; draw = n.GaussianNoise.draw\n"
        "n.GaussianNoise.draw = lambda *a: (time.sleep(0.05), draw(*a))[1]\n"
        f"sys.argv = {['qhybrid', *arguments]!r}; from qhybrid.commands.main import main; main()"
    )
    process = subprocess.Popen([sys.executable, "-c", slow], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not (tmp_path / "run" / "checkpoints" / "step-10").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    goes_on(arguments)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_as_if_it_had_not_been(command, arguments, goes_on, monkeypatch, number):
    draw, draws = GaussianNoise.draw, []

    def interrupted(*given):
        draws.append(given)
        if len(draws) == 15:  # one for each step
            os.kill(os.getpid(), number)
        return draw(*given)

    with monkeypatch.context() as patch:
        patch.setattr(GaussianNoise, "draw", interrupted)
        code, _, said = command(*arguments)
    assert 15 <= len(draws) < 30
    assert code == 130
    assert "--resume" in said
    goes_on(arguments)


def test_a_checkpoint_gives_back_model_circuit_and_configuration(uninterrupted):
    checkpoint = load_checkpoint(uninterrupted.path)
    assert checkpoint.step == 30
    assert checkpoint.config == config()
    assert checkpoint.image_shape == (1, 8, 8)
    assert checkpoint.spec is not None
    assert checkpoint.spec.num_qubits == 3
    assert not checkpoint.model.training
    raw = load_checkpoint(latest_checkpoint(uninterrupted), ema=False)
    assert torch.equal(raw.model.state_dict()["head.weight"], weights(uninterrupted)["model"]["head.weight"])


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path, uninterrupted):
    import shutil

    out = tmp_path / "run"
    shutil.copytree(uninterrupted.path, out)
    text = (out / "config.yaml").read_text()
    (out / "config.yaml").write_text(text.replace("qubits: 3", "qubits: 4"))
    with pytest.raises(RunDirectoryError, match=r"another architecture.*quantum\.qubits: 3 there, 4 here"):
        load_checkpoint(out)
    meta = out / "checkpoints" / "step-30" / "meta.json"
    values = json.loads(meta.read_text())
    values["config"]["model"]["channels"] = [8, 16, 32]
    meta.write_text(json.dumps(values))
    (out / "config.yaml").write_text(text.replace("- 24", "- 32"))
    with pytest.raises(RunDirectoryError, match=r"another architecture: `bottleneck.excite.bias` is \(24,\) there"):
        load_checkpoint(out)


def test_damaged_checkpoints_are_named(tmp_path, uninterrupted):
    import shutil

    out = tmp_path / "run"
    shutil.copytree(uninterrupted.path, out)
    file = out / "checkpoints" / "step-30" / "ema.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(RunDirectoryError, match=r"ema\.safetensors` cannot be read"):
        load_checkpoint(out)
    shutil.rmtree(out / "checkpoints")
    with pytest.raises(RunDirectoryError, match="no checkpoint"):
        load_checkpoint(out)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(TrainingError, match=r"loss is .* at step \d+: lower `training.learning_rate`"):
        train(config(learning_rate=1e30, warmup_steps=0), tmp_path / "run")


def test_nothing_is_written_before_everything_is_checked(tmp_path):
    from qhybrid.errors import DataError

    with pytest.raises(DataError):
        train(config().model_copy(update={"data": config().data.model_copy(update={"n_train": 10**6})}), tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_state_files_hold_no_pickled_code(uninterrupted):
    state = torch.load(latest_checkpoint(uninterrupted) / "training_state.pt", weights_only=True)
    assert state["ema_step"] == 30


@pytest.mark.parametrize(
    "sections",
    [
        {"model": {"channels": [16384, 16384, 16384]}},
        {"model": {"channels": [8, 8, 16384], "time_dim": 16384}},
        {"training": {"batch_size": 1_048_576}},
    ],
)
def test_a_network_that_cannot_fit_the_memory_is_refused_before_it_is_built(tmp_path, sections):
    wanted = build_config({"name": "huge"} | sections)
    with pytest.raises(
        ConfigError, match=r"takes at least .* of memory and this machine has .*: lower `model.channels`"
    ):
        train(wanted, tmp_path / "run", stages=False)
    assert not (tmp_path / "run").exists()
