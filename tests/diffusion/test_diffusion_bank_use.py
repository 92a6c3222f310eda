"""A bank is opened once, and every draw from it is counted."""

import sys

import pytest
import torch

from qhybrid.checkpoints.checkpoint import load_checkpoint
from qhybrid.config import SimulatedNoiseConfig, build_config
from qhybrid.diffusion.bank import Bank, read_record
from qhybrid.diffusion.errors import NoiseError
from qhybrid.diffusion.making import make_bank
from qhybrid.sampling.generate import sample
from qhybrid.studies.noise_comparison import compare_circuits
from qhybrid.training.loop import train

_opened: list[str] = []
_watching = False


def _watch(event, arguments):
    if _watching and event == "open":
        _opened.append(str(arguments[0]))


sys.addaudithook(_watch)


@pytest.fixture
def opened():
    """Every file that Python opens, whoever opens it."""
    global _watching
    _opened.clear()
    _watching = True
    yield _opened
    _watching = False


@pytest.fixture
def settings(tmp_path):
    make_bank(tmp_path / "bank.npz", "gaussian", SimulatedNoiseConfig(), 100_000)
    Bank(tmp_path / "bank.npz")
    return build_config(
        {
            "name": "counted",
            "data": {"n_train": 20},
            "model": {"channels": [8, 8, 8], "time_dim": 8},
            "quantum": {"qubits": 2, "layers": 1},
            "diffusion": {"noise": {"source": "gaussian", "bank": str(tmp_path / "bank.npz")}},
            "training": {"steps": 3, "batch_size": 4, "threads": 1, "device": "cpu"},
            "sampling": {"images": 12, "batch_size": 4, "steps": 2, "eta": 1.0},
        }
    )


def test_a_training_and_a_sampling_of_many_batches_open_the_bank_once(tmp_path, settings, opened):
    bank = tmp_path / "bank.npz"
    bank.touch()  # another time of change: what the process knows of the file is out of date
    run = train(settings, tmp_path / "run")
    # Mapped once for its numbers, and read through once for the sum that the run directory keeps of it.
    assert opened.count(str(bank)) == 2
    before = opened.count(str(bank.with_suffix(".json")))
    sample(run)
    assert opened.count(str(bank)) == 3  # its sum is compared with what the run directory has
    # The record is read to reserve the draws and to admit the bank, not for each of the three batches.
    reserved = opened.count(str(bank.with_suffix(".json"))) - before
    sample(run, settings.sampling.model_copy(update={"batch_size": 12}))
    assert opened.count(str(bank.with_suffix(".json"))) - before <= 2 * reserved
    bank.write_bytes(bank.read_bytes())
    Bank(bank)
    assert opened.count(str(bank)) == 7  # its sum compared again; read and written here, and mapped anew


def test_draws_of_every_stage_are_counted(tmp_path, settings):
    bank, pixels = tmp_path / "bank.npz", 64
    run = train(settings, tmp_path / "run")
    assert read_record(bank).drawn.popitem()[1] == 3 * 4 * pixels
    checkpoint = load_checkpoint(run.path)
    with torch.no_grad():
        checkpoint.model.head.weight.normal_()
    compare_circuits(run, "fake_manila", 8, images=10)
    drawn = dict(read_record(bank).drawn)
    assert len(drawn) == 2
    assert sum(drawn.values()) == (3 * 4 + 10 * (1 + 2)) * pixels
    compare_circuits(run, "fake_manila", 8, images=10)
    assert read_record(bank).drawn == drawn  # the same images again
    compare_circuits(run, "fake_manila", 8, images=11)
    assert len(read_record(bank).drawn) == 3


def test_a_comparison_that_needs_more_than_the_bank_has_is_refused_and_draws_nothing(tmp_path, settings):
    run = train(settings, tmp_path / "run")
    drawn = read_record(tmp_path / "bank.npz").drawn
    with pytest.raises(NoiseError, match="is exhausted"):
        compare_circuits(run, "fake_manila", 8, images=5000)
    assert read_record(tmp_path / "bank.npz").drawn == drawn
    assert not (run.path / "noise").exists()
