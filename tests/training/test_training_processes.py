"""Several processes train one model: the numbers of one process, stopped and resumed together; what they cannot do."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from safetensors.torch import load_file

from qhybrid import train
from qhybrid.config import build_config

SETTINGS = {
    "name": "together",
    "data": {"name": "digits", "n_train": 64},
    "model": {"channels": [8, 16, 16], "condition": "class"},
    "quantum": {"qubits": 3, "layers": 1},
    "training": {"steps": 30, "batch_size": 16, "checkpoint_every": 5, "log_every": 10, "warmup_steps": 1},
}
LAUNCH = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "qhybrid", "train")


def settings(core):
    unconditional = {"condition": "none"} if core == "published" else {}
    bottleneck = {"core": core, "place": "gate"}
    quantum = SETTINGS["quantum"] | {"allow_dead_parameters": core == "published"}
    return SETTINGS | {"quantum": quantum, "model": SETTINGS["model"] | unconditional | {"bottleneck": bottleneck}}


@pytest.mark.parametrize("core", ["quantum", "published"])
def test_two_processes_get_the_numbers_of_one(core, tmp_path):
    """The first is stopped on its way and resumed; of the published core some parameters never get a gradient."""
    chosen = settings(core)
    alone = train(build_config(chosen), tmp_path / "alone")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(chosen))
    command = [sys.executable, *LAUNCH, "config.yaml", "--out", "together"]
    place = tmp_path / "together"
    with open(tmp_path / "log", "w") as log:
        launched = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        while core == "quantum" and launched.poll() is None and not (place / "checkpoints" / "step-5").exists():
            time.sleep(0.05)
        if core == "quantum":
            launched.send_signal(signal.SIGTERM)
        launched.wait(120)
        if core == "quantum":
            assert subprocess.run([*command, "--resume"], cwd=tmp_path, stdout=log, stderr=log).returncode == 0
    last = place / "checkpoints" / "step-30"
    assert last.exists(), (tmp_path / "log").read_text()
    for name in ("model.safetensors", "ema.safetensors"):
        mine, theirs = load_file(alone.checkpoints / "step-30" / name), load_file(last / name)
        # Adam makes whole steps (3e-4) of the rounding errors in gradients that are 0 (biases before a normalization).
        torch.testing.assert_close(theirs, mine, rtol=0, atol=5e-4)
    rows = [json.loads(line) for line in (place / "train.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20, 30]
    for row, other in zip(rows, alone.training_rows(), strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert row["images_seen"] == other["images_seen"]
    # One process speaks.
    assert (tmp_path / "log").read_text().count("run directory:") == 1


def test_a_batch_that_cannot_be_shared_evenly(tmp_path, command, monkeypatch):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings("se")))
    monkeypatch.setenv("WORLD_SIZE", "3")
    code, _, error = command("train", tmp_path / "config.yaml", "--out", tmp_path / "run")
    assert code == 2
    assert "`training.batch_size` is 16, which 3 processes cannot share evenly: choose a multiple of 3" in error
    assert not (tmp_path / "run").exists()


def test_the_other_stages_are_for_one_process(tmp_path, command, monkeypatch):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings("se")))
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, error = command("run", tmp_path / "config.yaml", "--out", tmp_path / "run")
    assert code == 2
    assert "several train with `qhybrid train CONFIG --out DIR`" in error
