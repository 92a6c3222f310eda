"""Images on a device take their latents from the noise bank of the configuration, and the bank counts them."""

from pathlib import Path

import pytest
from hardware_runs import tiny_config, write_checkpoint

import hardware
from qhybrid.config import HardwareConfig, SimulatedNoiseConfig, build_config
from qhybrid.diffusion.bank import read_record
from qhybrid.diffusion.errors import NoiseError
from qhybrid.diffusion.making import make_bank
from qhybrid.rundir import RunDirectory

PIXELS = 8 * 8


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    make_bank(tmp_path / "bank.npz", "gaussian", SimulatedNoiseConfig(), 3 * 1000 * PIXELS)
    return tmp_path / "bank.npz"


@pytest.fixture
def fed_run(tmp_path: Path, bank: Path) -> RunDirectory:
    values = tiny_config().model_dump()
    values["diffusion"]["noise"] = {"source": "gaussian", "bank": str(bank)}
    config = build_config(values)
    run = RunDirectory.create(tmp_path / "run", config)
    write_checkpoint(run, config, 0)
    return run


def options(images: int) -> HardwareConfig:
    return HardwareConfig(backend="fake_manila", images=images, steps=1, qpu_steps=[0], shots=16, pack=1)


def test_each_image_on_a_device_is_counted_once(fed_run: RunDirectory, bank: Path) -> None:
    hardware.plan(fed_run, options(2))
    assert sum(read_record(bank).drawn.values()) == 0
    hardware.infer(fed_run, options(2))
    assert sum(read_record(bank).drawn.values()) == 2 * PIXELS
    hardware.infer(fed_run, options(2))
    assert sum(read_record(bank).drawn.values()) == 2 * PIXELS


def test_more_images_than_the_bank_holds_are_refused_before_anything_is_written(fed_run: RunDirectory) -> None:
    with pytest.raises(NoiseError, match="is exhausted"):
        hardware.infer(fed_run, options(5000))
    assert not (fed_run.hardware / "plan.json").exists()
