"""The device with the shortest queue: chosen once, written down, kept by whatever goes on."""

from pathlib import Path

import numpy as np
import pytest
from loopback import Loopback

import hardware
from hardware.errors import BackendError, HardwareError
from hardware.noise.draw import plan_noise
from hardware.service.backends import open_backend
from qhybrid.config import HardwareConfig, NoiseBankConfig
from qhybrid.files import read_json
from qhybrid.rundir import RunDirectory

OPTIONS = HardwareConfig(backend="least_busy", images=2, steps=2, qpu_steps="all", shots=64, pack=1)


@pytest.fixture
def two_devices(service: Loopback) -> Loopback:
    """Two devices of five qubits with queues of 3 and 7, and one of a single qubit that nobody waits for."""
    devices = service.state.devices
    devices["ibm_manila_two"] = devices["ibm_manila"].__class__(**vars(devices["ibm_manila"]))
    devices["ibm_manila_two"].configuration = {**devices["ibm_manila"].configuration, "backend_name": "ibm_manila_two"}
    devices["ibm_manila"].pending, devices["ibm_manila_two"].pending, devices["ibm_armonk"].pending = 7, 3, 0
    return service


def test_the_shortest_queue_among_those_that_are_large_enough(two_devices: Loopback) -> None:
    assert open_backend("least_busy").name == "ibm_armonk"
    assert open_backend("least_busy", qubits=2).name == "ibm_manila_two"
    two_devices.state.devices["ibm_manila"].pending = 1
    assert open_backend("least_busy", qubits=5).name == "ibm_manila"
    with pytest.raises(
        BackendError, match="`least_busy`: no device of the account is online and has at least 6 qubits"
    ):
        open_backend("least_busy", qubits=6)


def test_a_run_keeps_the_device_that_was_chosen(two_devices: Loopback, run: RunDirectory) -> None:
    assert hardware.plan(run, OPTIONS).backend == "ibm_manila_two"
    hardware.submit(run, OPTIONS, yes=True)
    plan = read_json(run.hardware / "plan.json")
    assert (plan["backend"], plan["config"]["backend"]) == ("ibm_manila_two", "ibm_manila_two")
    # Its own job makes the queue longer, and another device the least busy one.
    two_devices.state.devices["ibm_manila_two"].pending = 50
    hardware.infer(run, OPTIONS, yes=True, resume=True)
    assert {job.backend for job in two_devices.jobs} == {"ibm_manila_two"}
    assert len(two_devices.jobs) == 2
    # By its own name it is the same run.
    named = OPTIONS.model_copy(update={"backend": "ibm_manila_two"})
    images = np.load(run.hardware / "images.npz")["images"]
    hardware.infer(run, named, yes=True, resume=True)
    assert len(two_devices.jobs) == 2
    assert np.array_equal(np.load(run.hardware / "images.npz")["images"], images)


def test_a_device_is_not_sent_to_without_leave(two_devices: Loopback, run: RunDirectory) -> None:
    with pytest.raises(HardwareError, match="yes"):
        hardware.infer(run, OPTIONS)
    assert not two_devices.jobs


def test_noise_keeps_the_device_that_was_chosen(two_devices: Loopback, tmp_path: Path) -> None:
    config = NoiseBankConfig(backend="least_busy", normals=10_000)
    two_devices.state.devices["ibm_armonk"].pending = 20
    begun = plan_noise(tmp_path / "bank.npz", config)
    assert (begun.plan.backend, begun.plan.config["backend"]) == ("ibm_manila_two", "ibm_manila_two")
    begun.save()
    two_devices.state.devices["ibm_manila_two"].pending = 50
    resumed = plan_noise(tmp_path / "bank.npz", config, resume=True)
    assert (resumed.plan.backend, resumed.backend.name) == ("ibm_manila_two", "ibm_manila_two")
