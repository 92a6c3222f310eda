"""A conditional model on a device: labels, angles that are known beforehand, and the network run once per step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hardware_runs import conditional_run

import hardware
from hardware.errors import HardwareError
from hardware.inference.reverse_process import ReverseProcess, ReverseState
from hardware.inference.rounds import Round
from qhybrid.checkpoints.checkpoint import Checkpoint, load_checkpoint
from qhybrid.config import HardwareConfig, SamplingConfig
from qhybrid.data.images import to_uint8
from qhybrid.data.labels import LabelSpace
from qhybrid.rundir import RunDirectory
from qhybrid.sampling.generate import generate

SPACE = LabelSpace(("0", "1", "2", "3"), np.array([0, 2, 3]), np.array([5, 5, 5]))


def conditional(folder: Path, **bottleneck: Any) -> RunDirectory:
    """A run with a class that no training image has."""
    return conditional_run(folder, space=SPACE, **bottleneck)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return load_checkpoint(conditional(tmp_path / "run").path)


@pytest.mark.parametrize("place", ["gate", "condition"])
def test_images_of_a_device_have_classes_in_turn_and_twins_of_the_same_class(tmp_path: Path, place: str) -> None:
    run = conditional(tmp_path / "run", place=place)
    options = HardwareConfig(backend="aer", images=5, steps=3, qpu_steps=[0, 2], shots=20_000)
    hardware.infer(run, options)
    with np.load(run.hardware / "images.npz") as file:
        found = dict(file)
    assert found["labels"].tolist() == [0, 2, 3, 0, 2]
    # What exact simulation makes is what sampling makes of the same seeds and labels.
    sampling = SamplingConfig(steps=3, images=5)
    twins = generate(load_checkpoint(run.path), sampling, list(range(5)), labels=found["labels"])
    assert np.abs(twins.astype(int) - found["exact"]).max() <= 1
    others = generate(load_checkpoint(run.path), sampling, list(range(5)), labels=np.roll(found["labels"], 1))
    assert np.abs(others.astype(int) - found["exact"]).max() > 5
    # Random weights make of a little shot noise a lot, and still the twins are by far the nearest.
    nearest = np.abs(found["images"].astype(int) - found["exact"]).mean()
    assert nearest < np.abs(found["images"].astype(int) - others).mean() / 2


@pytest.mark.parametrize(("sees", "known"), [(["class", "time"], True), (["image", "class", "time"], False)])
def test_without_the_image_in_sight_the_angles_of_every_step_are_known_beforehand(
    tmp_path: Path, sees: list[str], known: bool
) -> None:
    run = conditional(tmp_path / "run", sees=sees)
    seen: dict[int, list[np.ndarray]] = {}
    for seeds in (range(6), range(100, 106)):
        process = ReverseProcess(load_checkpoint(run.path), 3, seeds)

        def evaluate(asked: Round, process: ReverseProcess = process) -> np.ndarray:
            for step in asked.steps:
                seen.setdefault(step, []).append(asked.of_images(step, asked.angles))
            return process.exact.values(asked.angles)

        process.run(process.start(), evaluate, range(3))
    for step in range(3):
        first, second = seen[step]
        assert np.array_equal(first, second) is known
        # Images 0 and 3 are of one class, 0 and 1 are not.
        assert np.allclose(first[0], first[3], atol=1e-6) is known
        assert not np.allclose(first[0], first[1], atol=1e-3)
    assert not np.allclose(seen[0][0], seen[1][0], atol=1e-4)


def test_a_step_on_the_device_runs_the_network_once(checkpoint: Checkpoint) -> None:
    process = ReverseProcess(checkpoint, 4, range(3))
    calls = {"first": 0, "second": 0, "circuit": 0}

    def count(part: str) -> Any:
        def called(*_: Any) -> None:
            calls[part] += 1

        return called

    process.model.stem.register_forward_hook(count("first"))
    process.model.head.register_forward_hook(count("second"))
    process.core.register_forward_hook(count("circuit"))
    process.run(process.start(), lambda asked: process.exact.values(asked.angles), (1, 2))
    # The simulated circuit of training is never asked: its outputs come from exact simulation or from the device.
    assert calls == {"first": 4, "second": 4, "circuit": 0}


def test_exact_values_at_every_step_are_exact_simulation_bit_for_bit(checkpoint: Checkpoint) -> None:
    process = ReverseProcess(checkpoint, 4, range(3))
    simulated = process.simulate()
    stored: list[ReverseState] = []
    states = process.run(process.start(), lambda asked: process.exact.values(asked.angles), range(4), stored.append)
    # The device's values come in double precision, those of simulation in that of the network.
    assert np.array_equal(states.images, simulated.images)
    assert [state.step for state in stored if state.sent is not None] == [0, 1, 2, 3]
    assert to_uint8(torch.from_numpy(states.images)).shape == (3, 8, 8)


def test_a_circuit_at_every_position_is_not_for_a_device(tmp_path: Path) -> None:
    run = conditional(tmp_path / "run", place="features")
    with pytest.raises(HardwareError, match=r"every position of the features.*one circuit per image"):
        hardware.plan(run, HardwareConfig(backend="aer", images=2, steps=2))
    assert not run.hardware.exists()
