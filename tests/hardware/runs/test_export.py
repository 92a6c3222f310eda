"""A run's circuit for others: the files hold the run's own job, and the script sends it without this package."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hardware_runs import Command, MakeRun, conditional_run
from loopback import Loopback
from qiskit import qasm3, qpy
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import Operator, SparsePauliOp

import hardware
from hardware.inference.workload import planned_workload
from qhybrid.config import HardwareConfig
from qhybrid.rundir import RunDirectory

BLIND = {"sees": ["class", "time"]}


@pytest.fixture
def exported(service: Loopback, tmp_path: Path) -> tuple[RunDirectory, Path]:
    """A run of one job on the service's device, planned and exported; two qubits, so that their order shows."""
    run = conditional_run(tmp_path / "run", qubits=2, **BLIND)
    hardware.plan(run, HardwareConfig(backend="ibm_manila", images=3, steps=2, qpu_steps="all", shots=2048, pack=2))
    return run, hardware.export(run, tmp_path / "out")


def test_the_files_give_the_exact_values_of_the_run(exported: tuple[RunDirectory, Path]) -> None:
    run, folder = exported
    job = json.loads((folder / "job.json").read_text())
    with (folder / "circuit.qpy").open("rb") as file:
        circuit = qpy.load(file)[0]
    observables = [[SparsePauliOp.from_sparse_list(terms, circuit.num_qubits)] for terms in job["observables"]]
    pub = (circuit, observables, {tuple(job["inputs"]): np.array(job["parameters"])})
    found = StatevectorEstimator().run([pub]).result()[0].data.evs
    workload = planned_workload(run, offline=True)
    angles = workload.process.known_round(workload.plan.qpu_steps).angles
    expected = workload.process.exact.values(angles)
    assert len(angles) == 6
    # Six parameter sets on two copies of two outputs: `found` is (4, 3), outputs copy after copy.
    assert found.shape == (4, 3)
    rows = workload.device.pack(np.arange(6.0)[:, None].repeat(2, axis=1))[:, ::2].astype(int)
    for copy in range(2):
        np.testing.assert_allclose(found[2 * copy : 2 * copy + 2].T, expected[rows[:, copy]], atol=1e-6)
    assert (job["backend"], job["shots"], job["resilience_level"]) == ("ibm_manila", 2048, 0)


def test_the_qasm_file_is_the_same_circuit(exported: tuple[RunDirectory, Path]) -> None:
    _, folder = exported
    with (folder / "circuit.qpy").open("rb") as file:
        circuit = qpy.load(file)[0]
    again = qasm3.loads((folder / "circuit.qasm").read_text())
    angles = np.linspace(0.2, 1.4, circuit.num_parameters)
    # Names without brackets and dots, which the language does not have, keep their order.
    assert again.num_parameters == circuit.num_parameters
    bound = [one.assign_parameters(angles) for one in (circuit, again)]
    assert Operator(bound[0]).equiv(Operator(bound[1]))


def test_the_script_sends_the_runs_job_without_this_package(
    exported: tuple[RunDirectory, Path], service: Loopback
) -> None:
    run, folder = exported
    text = (folder / "submit.py").read_text()
    assert "qhybrid" not in text
    assert "hardware" not in text
    answer = subprocess.run([sys.executable, folder / "submit.py"], capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    (job,) = service.jobs
    assert (
        job.executions
        == hardware.plan(
            run, HardwareConfig(backend="ibm_manila", images=3, steps=2, qpu_steps="all", shots=2048, pack=2)
        ).executions
    )
    with np.load(folder / "result.npz") as found:
        assert found["evs"].shape == (4, 3)
        assert (found["stds"] > 0).any()


def test_a_bottleneck_that_sees_the_image_exports_its_first_step(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(qubits=2)
    hardware.plan(run, HardwareConfig(backend="fake_manila", images=3, steps=2, qpu_steps="all", pack=1))
    job = json.loads((hardware.export(run, tmp_path / "out") / "job.json").read_text())
    assert np.shape(job["parameters"]) == (3, 2)


def test_nothing_is_overwritten_and_nothing_without_a_plan(make_run: MakeRun, tmp_path: Path, command: Command) -> None:
    run = make_run(qubits=2)
    code, _, errors = command("export", run.path, "--out", tmp_path / "out")
    assert (code, errors.count("\n")) == (2, 1)
    assert "no hardware plan" in errors
    assert not (tmp_path / "out").exists()
    hardware.plan(run, HardwareConfig(backend="fake_manila", images=2, steps=2, qpu_steps="all", pack=1))
    assert command("export", run.path, "--out", tmp_path / "out")[0] == 0
    code, _, errors = command("export", run.path, "--out", tmp_path / "out")
    assert (code, "circuit.qpy` exists: name another folder with --out" in errors) == (2, True)
