"""Qiskit's estimator over a device: right values, one payment whatever is killed, a budget that holds, clear lines."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import train_on_device
from loopback import Loopback
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterVector
from qiskit.primitives import StatevectorEstimator
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp, Statevector

import hardware
from hardware.errors import BudgetError, HardwareError
from hardware.estimation.estimator import DeviceEstimator
from hardware.service import limits
from qhybrid.errors import CircuitError, ConfigError, RunDirectoryError
from qhybrid.files import read_jsonl
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.devices.snapshots import snapshot
from qhybrid.quantum.layer.layer import QuantumLayer
from qhybrid.quantum.layer.networks import build_qnn

# Aer's, about devices that state no lifetimes.
pytestmark = pytest.mark.filterwarnings("ignore:Qiskit backend:UserWarning")

WEIGHTS = np.array([0.7, 1.1])


def own_spec() -> CircuitSpec:
    """No symmetry between its qubits; its chain of couplings is 0 - 2 - 1, which no device has in this order."""
    a = ParameterVector("a", 3)
    circuit = QuantumCircuit(3)
    circuit.ry(a[0], 0)
    circuit.cx(0, 2)
    circuit.ry(a[1], 2)
    circuit.rx(a[2], 1)
    circuit.cx(2, 1)
    circuit.rz(0.3, 1)
    circuit.ry(0.4, 1)
    observables = SparsePauliOp("IIZ"), SparsePauliOp("YXI"), SparsePauliOp(["ZIZ", "IXX"], [0.5, 2.0])
    return CircuitSpec("own", circuit, (a[0],), (a[1], a[2]), observables)


def exact(spec: CircuitSpec, points: np.ndarray) -> np.ndarray:
    """Expectation values (M, N) by Qiskit's statevector."""
    states = [Statevector(spec.circuit.assign_parameters(point)) for point in points]
    return np.array([[state.expectation_value(item).real for state in states] for item in spec.observables])


POINTS = np.array([[0.1, 0.7, 1.1], [0.5, 2.0, -0.4], [-1.2, 0.3, 2.5]])


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., DeviceEstimator]:
    def made(backend: object, folder: str = "estimator", **options: object) -> DeviceEstimator:
        return hardware.device_estimator(own_spec(), backend, folder=tmp_path / folder, **options)

    return made


def line_device() -> GenericBackendV2:
    """No noise, couplings 0 - 1 - 2 - 3."""
    return GenericBackendV2(
        4, ["cx", "rz", "sx", "x"], coupling_map=[[i, i + 1] for i in range(3)] + [[i + 1, i] for i in range(3)],
        noise_info=False, seed=1,
    )  # fmt: skip


@pytest.mark.parametrize("primitive", ["estimator", "sampler"])
def test_values_are_those_of_the_statevector_within_shot_noise(
    make: Callable[..., DeviceEstimator], primitive: str
) -> None:
    estimator = make(line_device(), shots=4096, primitive=primitive)
    spec = own_spec()
    _, placed = estimator.state.place(spec.circuit, spec.name, estimator.backend)
    assert list(placed.layout) != sorted(placed.layout)
    observables = list(spec.observables) if primitive == "estimator" else [SparsePauliOp("IIZ"), SparsePauliOp("ZIZ")]
    result = estimator.run([(spec.circuit, [[item] for item in observables], POINTS)]).result()[0]
    expected = exact(CircuitSpec("own", spec.circuit, spec.inputs, spec.weights, tuple(observables)), POINTS)
    assert result.data.evs.shape == result.data.stds.shape == expected.shape
    assert np.abs(result.data.evs - expected).max() < 5 * np.sqrt(4 / 4096)
    assert (np.abs(result.data.evs - expected) < 5 * result.data.stds + 1e-3).all()
    assert result.metadata["shots"] == 4096


def test_shapes_broadcast_as_with_qiskit(make: Callable[..., DeviceEstimator]) -> None:
    estimator, stock = make(line_device(), shots=1024), StatevectorEstimator()
    spec = own_spec()
    plus = QuantumCircuit(2)
    plus.h(0)
    plus.cx(0, 1)
    grid = np.stack([POINTS, POINTS[::-1]])
    pubs = [
        (spec.circuit, "ZII", POINTS[0]),
        (spec.circuit, ["ZII", "IZI", "XXX"], POINTS),
        (spec.circuit, [["ZII"], ["IZI"]], grid[:, :1]),
        (spec.circuit, {"ZZI": 0.5, "IXI": -1.0}, grid),
        (plus, ["ZZ", "XX", "ZI"]),
        (plus, "YY"),
    ]
    found, expected = estimator.run(pubs).result(), stock.run(pubs).result()
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.data.evs.shape == theirs.data.evs.shape
        np.testing.assert_allclose(ours.data.evs, theirs.data.evs, atol=0.2)
    # Each circuit once, whatever the number of pubs.
    assert (estimator.bill().evaluations, estimator.bill().jobs) == (2, 2)


@pytest.mark.parametrize(("precision", "shots"), [(None, 64), (0.25, 16), (0.1, 100)])
def test_shots_follow_the_precision(make: Callable[..., DeviceEstimator], precision: float | None, shots: int) -> None:
    estimator = make(line_device(), shots=64)
    circuit = own_spec().circuit
    data = estimator.run([(circuit, "ZII", POINTS)], precision=precision).result()[0].data
    counts = (data.evs + 1) / 2 * shots
    np.testing.assert_allclose(counts, counts.round(), atol=1e-6)
    assert estimator.bill().executions == 3 * shots
    assert estimator.default_precision == 1 / 8


def test_a_local_copy_of_a_large_device_is_cropped(make: Callable[..., DeviceEstimator]) -> None:
    estimator = make("fake_torino", shots=512)
    layer = QuantumLayer(build_qnn(own_spec(), estimator), WEIGHTS)
    x = torch.tensor([[0.4]], requires_grad=True)
    layer(x).sum().backward()
    reference = QuantumLayer(build_qnn(own_spec(), StatevectorEstimator()), WEIGHTS)
    other = torch.tensor([[0.4]], requires_grad=True)
    reference(other).sum().backward()
    assert (layer.weight.grad - reference.weight.grad).abs().max() < 0.6
    assert (x.grad - other.grad).abs().max() < 0.6
    assert estimator.bill().jobs == 1


def test_what_is_asked_twice_is_measured_twice_and_a_new_process_finds_both(
    make: Callable[..., DeviceEstimator],
) -> None:
    circuit = own_spec().circuit
    pub = (circuit, ["XXI", "ZZZ"], POINTS[:2])

    def ask(estimator: DeviceEstimator) -> list[np.ndarray]:
        return [estimator.run([pub]).result()[0].data.evs for _ in range(2)]

    first = make("fake_manila", shots=256)
    values = ask(first)
    assert not np.array_equal(values[0], values[1])
    again = make("fake_manila", shots=256)
    np.testing.assert_array_equal(ask(again), values)
    assert again.bill() == first.bill()
    # Other shots are another measurement.
    assert again.run([pub], precision=0.1).result()[0].metadata["shots"] == 100
    assert again.bill().evaluations == 3


def test_large_questions_are_split_at_the_limits(
    make: Callable[..., DeviceEstimator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_PARAMETER_SETS_PER_JOB", 2)
    estimator = make(line_device(), shots=1024)
    spec = own_spec()
    found = estimator.run([(spec.circuit, [[item] for item in spec.observables], POINTS)]).result()[0].data.evs
    np.testing.assert_allclose(found, exact(spec, POINTS), atol=0.3)
    assert (estimator.bill().evaluations, estimator.bill().jobs) == (1, 2)


def test_training_that_is_killed_pays_for_no_step_twice(
    service: Loopback, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed when the second job has just been made, and when the result of the fourth is asked for."""
    folder = tmp_path / "training"
    environment = {**os.environ, **service.environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    # At the second job, and at the third result of the second process: the first two are there by then.
    moments = iter([("POST", "/jobs", 2), ("GET", "results", 3)])

    def train() -> tuple[int, str]:
        process = subprocess.Popen(
            [sys.executable, train_on_device.__file__, str(folder)], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        method, end, count = next(moments, ("", "", 0))

        def watch(when: str, asked: str, path: str) -> None:
            nonlocal count
            if when == "after" and asked == method and path.endswith(end):
                count -= 1
                if count == 0:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)

        service.watch = watch
        output, _ = process.communicate(timeout=300)
        service.watch = None
        return process.returncode, output

    assert train()[0] == -signal.SIGKILL
    assert len(service.jobs) == 2
    assert train()[0] == -signal.SIGKILL
    code, output = train()
    assert code == 0, output
    service.state.wait_until_idle()
    told = json.loads(output.splitlines()[-1])
    assert len(service.jobs) == told["jobs"] == told["evaluations"] == 5
    assert service.state.executions == told["executions"]
    assert told["spent"] == service.state.consumed_seconds == 10.0
    rows = read_jsonl(folder / "hardware" / "estimator" / "jobs.jsonl")
    assert {row["job"] for row in rows if row["event"] == "submitted"} == {job.id for job in service.jobs}
    assert all(job.tags[0] == "qhybrid" and job.max_seconds is not None for job in service.jobs)
    # Once more: all of it is stored, and the same weights follow.
    train_on_device.main(folder)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == told
    assert len(service.jobs) == 5


def test_a_budget_holds_over_processes_and_a_real_device_needs_one(
    service: Loopback, make: Callable[..., DeviceEstimator]
) -> None:
    circuit = own_spec().circuit
    with pytest.raises(HardwareError, match=r"`ibm_manila` is a real device: name the seconds .* by `budget`"):
        make("ibm_manila")
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(HardwareError, match="give a positive number of seconds"):
            make("ibm_manila", budget=wrong)
    estimator = make("ibm_manila", budget=3.0, shots=16)
    estimator.run([(circuit, "ZII", POINTS[0])])
    assert estimator.bill().spent == 2.0
    again = make("ibm_manila", shots=16)
    with pytest.raises(BudgetError, match=r"budget_seconds 3: 1\.0 s are left and evaluation 1 takes 2\.\d s"):
        again.run([(circuit, "ZII", POINTS[1])])
    assert (len(service.jobs), again.bill().evaluations) == (1, 1)
    larger = make("ibm_manila", budget=6.0, shots=16)
    larger.run([(circuit, "ZII", POINTS[1])])
    assert (len(service.jobs), larger.bill().evaluations) == (2, 2)
    assert [job.max_seconds for job in service.jobs] == [3, 4]


def test_two_folders_share_no_job(service: Loopback, make: Callable[..., DeviceEstimator]) -> None:
    circuit = own_spec().circuit
    for folder in ("one", "two"):
        make("ibm_manila", folder, budget=10.0, shots=16).run([(circuit, "ZII", POINTS[0])])
    assert len(service.jobs) == 2


def test_what_does_not_fit_is_one_line(make: Callable[..., DeviceEstimator], tmp_path: Path) -> None:
    estimator = make("fake_manila", shots=16)
    circuit = own_spec().circuit
    changed = own_spec()
    changed.circuit.x(0)
    estimator.run([(circuit, "ZII", POINTS[0])])
    large = CircuitSpec("large", QuantumCircuit(6), (), (), (SparsePauliOp("Z" * 6),))
    with pytest.raises(HardwareError, match="holds the evaluations of another circuit: name another folder"):
        hardware.device_estimator(changed, "fake_manila", folder=tmp_path / "estimator")
    with pytest.raises(HardwareError, match=r"another device \(`fake_manila`\)"):
        make("fake_lima")
    with pytest.raises(HardwareError, match="precision 0 asks for exact values"):
        estimator.run([(circuit, "ZII", POINTS[0])], precision=0)
    with pytest.raises(HardwareError, match="was transpiled before"):
        estimator.run([(transpile(circuit, snapshot("fake_manila")), "IIZII", POINTS[0])])
    measured = circuit.copy()
    measured.measure_all()
    with pytest.raises(CircuitError, match="holds a measurement"):
        estimator.run([(measured, "ZII", POINTS[0])])
    with pytest.raises(HardwareError, match="an estimator has no option `images`: it takes primitive, level, shots"):
        make("fake_manila", "new", images=3)
    with pytest.raises(ConfigError, match="shots"):
        make("fake_manila", "new", shots=0)
    with pytest.raises(ValueError, match="inconsistent with last dimension"):
        estimator.run([(circuit, "ZII", [0.1])])
    with pytest.raises(HardwareError, match="does not fit"):
        hardware.device_estimator(large, "fake_manila", folder=tmp_path / "large")
    (tmp_path / "estimator" / "hardware" / "estimator" / "estimator.json").write_text("{}")
    with pytest.raises(RunDirectoryError, match="name another folder"):
        make("fake_manila")


def test_the_least_busy_device_is_large_enough_and_stays_the_one(
    service: Loopback, make: Callable[..., DeviceEstimator]
) -> None:
    devices = service.state.devices
    devices["ibm_manila"].pending, devices["ibm_armonk"].pending = 7, 0
    estimator = make("least_busy", budget=10.0, shots=16)
    assert estimator.backend.name == "ibm_manila"
    estimator.run([(own_spec().circuit, "ZII", POINTS[0])])
    devices["ibm_manila_two"] = devices["ibm_manila"].__class__(**vars(devices["ibm_manila"]))
    devices["ibm_manila_two"].configuration = {**devices["ibm_manila"].configuration, "backend_name": "ibm_manila_two"}
    devices["ibm_manila_two"].pending = 0
    assert make("least_busy").backend.name == "ibm_manila"


def test_results_are_there_though_the_device_is_gone(service: Loopback, make: Callable[..., DeviceEstimator]) -> None:
    pub = (own_spec().circuit, "ZII", POINTS[0])
    values = make("ibm_manila", budget=10.0, shots=16).run([pub]).result()[0].data.evs
    del service.state.devices["ibm_manila"]
    again = make("ibm_manila", shots=16)
    assert again.run([pub]).result()[0].data.evs == values
    with pytest.raises(HardwareError, match="ibm_manila"):
        again.run([pub])
    assert len(service.jobs) == 1
