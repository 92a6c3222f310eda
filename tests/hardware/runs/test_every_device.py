"""Every local copy of a device that Runtime brings: planned for, and one denoising step run on it.

All of them take minutes and run with QHYBRID_ALL_DEVICES=1; otherwise one of each family that has instructions of its
own does.
"""

import os
import warnings

import numpy as np
import pytest
from hardware_runs import MakeRun

import hardware
from qhybrid.config import HardwareConfig
from qhybrid.files import read_json
from qhybrid.quantum.devices.snapshots import snapshot, snapshot_names

# By what is special of their targets: a second measurement, a second reset, two kinds of two-qubit gates, u1 to u3.
FAMILIES = ("fake_kingston", "fake_boston", "fake_cairo", "fake_london", "fake_fractional")
CHOSEN = snapshot_names() if os.environ.get("QHYBRID_ALL_DEVICES") else FAMILIES


@pytest.mark.parametrize("device", CHOSEN)
def test_a_step_is_planned_for_and_run_on_the_device(device: str, make_run: MakeRun) -> None:
    with warnings.catch_warnings():
        # A few snapshots warn that their errors are not typical.
        warnings.simplefilter("ignore", UserWarning)
        run = make_run(qubits=min(3, snapshot(device).num_qubits))
        config = HardwareConfig(backend=device, images=2, steps=2, qpu_steps=[0], shots=64, pack=1)
        plan = hardware.plan(run, config)
        comparison = hardware.infer(run, config)
    assert (plan.backend, plan.jobs, plan.qpu_steps) == (device, 1, (0,))
    layout = read_json(run.hardware / "transpiled.json")["layout"]
    target = snapshot(device).target
    assert all((qubit,) in target["measure"] for qubit in layout)
    # What the transpiler has chosen for the circuit are gates of this device at this place, and no other instruction.
    gates = read_json(run.hardware / "transpiled.json")["report"]["gates"]
    assert set(gates) <= {"barrier", *target.operation_names} - {"measure_2", "reset_2", "reset", "measure"}
    assert comparison["device_against_exact"]["n"] == 2 * len(layout)
    # Values of a device, not of nothing: errors of a few percent and of 64 shots.
    assert np.isfinite(comparison["device_against_exact"]["rms"])
    assert comparison["device_against_noisy"]["rms"] < 0.5
