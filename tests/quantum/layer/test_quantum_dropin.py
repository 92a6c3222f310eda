"""`QuantumLayer` where users put it: any QNN, any estimator, inside the usual tools of PyTorch."""

import copy
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from ema_pytorch import EMA
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import real_amplitudes, zz_feature_map
from qiskit.primitives import BackendEstimatorV2, StatevectorEstimator
from qiskit.quantum_info import Operator, Pauli, SparseObservable, SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import EstimatorV2 as AerEstimatorV2
from qiskit_ibm_runtime.executor_estimator import Estimator as RuntimeEstimator
from qiskit_machine_learning.circuit.library import qnn_circuit
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.neural_networks import EstimatorQNN
from qiskit_machine_learning.primitives import QMLEstimator
from safetensors.torch import load_file, save_file

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.ansatz import build_spec
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.devices.snapshots import crop, snapshot
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.layer.layer import QuantumLayer, build_qnn


@pytest.fixture
def spec() -> CircuitSpec:
    return build_spec("ry_rz_ladder", 2, 1)


def qnn_of(spec: CircuitSpec, estimator: object, **options: object) -> EstimatorQNN:
    """As a user of qiskit-machine-learning writes it."""
    return EstimatorQNN(
        circuit=spec.circuit,
        estimator=estimator,
        observables=list(spec.observables),
        input_params=spec.inputs,
        weight_params=spec.weights,
        **options,
    )


def step(layer: torch.nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x = x.clone().requires_grad_()
    layer.zero_grad()
    out = layer(x)
    (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum().backward()
    return out.detach(), x.grad, layer.weight.grad.clone()


class Recorder(StatevectorEstimator):
    def __init__(self) -> None:
        super().__init__(seed=0)
        self.jobs: list[tuple[list[tuple[int, ...]], float | None]] = []

    def run(self, pubs: object, *, precision: float | None = None) -> object:
        job = super().run(pubs := list(pubs), precision=precision)
        self.jobs.append(([result.data.evs.shape for result in job.result()], precision))
        return job


@pytest.mark.parametrize("precision", [0.0, 0.015625, 0.05])
def test_one_pub_with_the_precision_of_the_qnn(spec: CircuitSpec, precision: float) -> None:
    estimator = Recorder()
    layer = QuantumLayer(qnn_of(spec, estimator, default_precision=precision), seed=1)
    x = torch.ones(5, 2)
    with torch.no_grad():
        layer(x)
    layer(x).sum().backward()
    layer(x.requires_grad_()).sum().backward()
    # 2 encoding and 4 weight rotations; two shifts of each that a gradient is asked of.
    assert estimator.jobs == [([(2, 5 * n)], precision) for n in (1, 1 + 2 * 4, 1 + 2 * 6)]


def test_the_stock_connector_sends_many_pubs_and_ignores_the_precision_going_back(spec: CircuitSpec) -> None:
    """What the layer spares; if this fails, qiskit-machine-learning got better and the documents should say so."""
    estimator = Recorder()
    layer = TorchConnector(qnn_of(spec, estimator, default_precision=0.05, input_gradients=True))
    layer(torch.ones(3, 2, requires_grad=True)).sum().backward()
    forward, backward = estimator.jobs
    assert len(forward[0]) == 2
    assert len(backward[0]) > 3
    assert forward[1] == 0.05
    assert backward[1] != 0.05


def test_any_estimator_trains_the_layer(spec: CircuitSpec) -> None:
    x = torch.linspace(-1, 1, 4).reshape(2, 2)
    exact = step(QuantumLayer(qnn_of(spec, CompiledEstimator()), seed=1), x)
    shots = {"default_precision": 0.01}
    aer = AerEstimatorV2(options={"run_options": {"seed_simulator": 0}})
    for estimator, options, tolerance in (
        (StatevectorEstimator(), {"default_precision": 0.0}, 1e-6),
        (QMLEstimator(), {"default_precision": 0.0}, 1e-6),
        (aer, {"default_precision": 0.0}, 1e-6),
        (StatevectorEstimator(seed=0), shots, 0.1),
        (BackendEstimatorV2(backend=AerSimulator(), options={"seed_simulator": 0}), shots, 0.1),
    ):
        for ours, theirs in zip(step(QuantumLayer(qnn_of(spec, estimator, **options), seed=1), x), exact, strict=True):
            torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)
            assert tolerance < 0.05 or not torch.equal(ours, theirs)


def test_runtime_estimator_takes_an_isa_circuit_with_its_layout(spec: CircuitSpec) -> None:
    device = crop(snapshot("fake_manila"), [3, 1, 2])
    isa = transpile(spec.circuit, device, optimization_level=1, seed_transpiler=0)
    assert isa.num_qubits == 3
    estimator = RuntimeEstimator(mode=device)
    estimator.options.resilience_level = 0
    placed = CircuitSpec(
        "isa", isa, spec.inputs, spec.weights, tuple(o.apply_layout(isa.layout) for o in spec.observables)
    )
    x = torch.linspace(-1, 1, 4).reshape(2, 2)
    exact = step(QuantumLayer(qnn_of(spec, CompiledEstimator()), seed=1), x)
    noisy = step(QuantumLayer(qnn_of(placed, estimator, default_precision=0.02), seed=1), x)
    for ours, theirs in zip(noisy, exact, strict=True):
        torch.testing.assert_close(ours, theirs, atol=0.3, rtol=0)
    compiled = step(QuantumLayer(qnn_of(placed, CompiledEstimator()), seed=1), x)
    for ours, theirs in zip(compiled, exact, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("composed", [True, False])
def test_library_circuits(composed: bool) -> None:
    features, ansatz = zz_feature_map(2, reps=1), real_amplitudes(2, reps=1)
    if composed:
        circuit, inputs, weights = qnn_circuit(feature_map=features, ansatz=ansatz)
    else:
        circuit = QuantumCircuit(2)
        circuit.append(features.to_instruction(), [0, 1])
        circuit.append(ansatz.to_instruction(), [0, 1])
        inputs, weights = features.parameters, ansatz.parameters
    # Without observables the QNN measures Z on every qubit.
    names = {"circuit": circuit, "input_params": inputs, "weight_params": weights, "default_precision": 0.0}
    initial = np.linspace(-1, 1, len(weights))
    stock = TorchConnector(EstimatorQNN(estimator=StatevectorEstimator(), input_gradients=True, **names), initial)
    x = torch.tensor([[0.3, -0.8]])
    expected = step(stock, x)
    for estimator in (CompiledEstimator(), StatevectorEstimator()):
        found = step(QuantumLayer(EstimatorQNN(estimator=estimator, **names), initial), x)
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert expected[1].abs().min() > 0.01


def test_observables_of_other_classes() -> None:
    w = ParameterVector("w", 1)
    circuit = QuantumCircuit(2)
    circuit.rx(w[0], 0)
    circuit.cx(0, 1)
    plain = [SparsePauliOp("XY"), SparsePauliOp(["IZ", "XX"], [2.0, 0.5])]
    others = [Pauli("XY"), Operator(plain[1])]
    newer = [SparseObservable.from_sparse_pauli_op(observable) for observable in plain]
    outputs = []
    for observables in (plain, others, newer):
        for estimator in (CompiledEstimator(), StatevectorEstimator()):
            qnn = EstimatorQNN(
                circuit=circuit, estimator=estimator, observables=observables, weight_params=w, default_precision=0.0
            )
            outputs.append(QuantumLayer(qnn, [0.7])())
    for other in outputs[1:]:
        torch.testing.assert_close(other, outputs[0])
    assert outputs[0].abs().min() > 0.1


class Hybrid(torch.nn.Module):
    """A layer in front and one behind, as in a bottleneck."""

    def __init__(self, spec: CircuitSpec, estimator: object | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.front = torch.nn.Linear(3, 2)
        self.quantum = QuantumLayer(build_qnn(spec, estimator or CompiledEstimator()), seed=1)
        self.back = torch.nn.Linear(2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.back(self.quantum(torch.tanh(self.front(x))))


def test_averages_and_their_files(spec: CircuitSpec, tmp_path: Path) -> None:
    model = Hybrid(spec)
    start = model.quantum.weight.detach().clone()
    average = EMA(model, beta=0.5, update_after_step=0, update_every=1)
    with torch.no_grad():
        average.update()
        model.quantum.weight.add_(1.0)
        average.update()
    averaged = average.ema_model.quantum.weight
    assert ((averaged > start) & (averaged < start + 1)).all()
    assert average.ema_model.quantum._weights is averaged
    x = torch.ones(2, 3)
    assert not torch.allclose(average(x), model(x))
    names = [name for name in model.state_dict() if name.startswith("quantum")]
    assert names == ["quantum.weight"]
    save_file(average.ema_model.state_dict(), tmp_path / "average.safetensors")
    other = Hybrid(spec)
    other.load_state_dict(load_file(tmp_path / "average.safetensors"))
    torch.testing.assert_close(other(x), average(x))
    save_file(copy.deepcopy(model).state_dict(), tmp_path / "copy.safetensors")


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_accelerate_prepares_and_trains(spec: CircuitSpec, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        accelerator = Accelerator(cpu=True, mixed_precision=precision)
        model, optimizer = Hybrid(spec), None
        before = model.quantum.weight.detach().clone()
        optimizer = torch.optim.Adam(model.parameters(), 0.05)
        model, optimizer = accelerator.prepare(model, optimizer)
        x = torch.linspace(-1, 1, 24).reshape(8, 3)
        losses = []
        for _ in range(10):
            optimizer.zero_grad()
            loss = (model(x) - 0.3).square().mean()
            accelerator.backward(loss)
            optimizer.step()
            losses.append(loss.item())
        inner = accelerator.unwrap_model(model)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        os.environ.pop("ACCELERATE_MIXED_PRECISION", None)
    assert isinstance(inner.quantum, TorchConnector)
    assert losses[-1] < 0.5 * losses[0]
    assert not torch.equal(inner.quantum.weight, before)
    assert inner.quantum.weight.dtype == torch.float32


@pytest.mark.parametrize("estimator", [CompiledEstimator(), StatevectorEstimator()], ids=["compiled", "other"])
def test_mixed_precision_around_it_is_safe(spec: CircuitSpec, estimator: object) -> None:
    """The circuit itself never runs in half precision: it only gets angles that were rounded to it."""
    model = Hybrid(spec, estimator)
    x = torch.linspace(-1, 1, 12).reshape(4, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        angles = torch.tanh(model.front(x))
        assert angles.dtype == torch.bfloat16
        out = model.quantum(angles)
        assert out.dtype == torch.float32
        model.back(out).float().sum().backward()
    torch.testing.assert_close(out, model.quantum(angles.float()), atol=1e-6, rtol=0)
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}
    rounded = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model(x).sum().backward()
    for ours, theirs in zip(rounded, (p.grad for p in model.parameters()), strict=True):
        torch.testing.assert_close(ours, theirs, atol=0.1, rtol=0.05)
    assert all(gradient.abs().max() > 0 for gradient in rounded)


def test_a_layer_in_half_precision_still_gives_numbers(spec: CircuitSpec) -> None:
    layer = QuantumLayer(build_qnn(spec, CompiledEstimator()), seed=1)
    reference = layer(torch.ones(1, 2))
    half = copy.deepcopy(layer).to(torch.bfloat16)
    out = half(torch.ones(1, 2, dtype=torch.bfloat16, requires_grad=True))
    torch.testing.assert_close(out, reference, atol=0.02, rtol=0)
    out.sum().backward()
    assert half.weight.grad.dtype == torch.bfloat16


def test_an_estimator_that_answers_nonsense_is_noticed(spec: CircuitSpec) -> None:
    class Broken(StatevectorEstimator):
        def run(self, pubs: object, *, precision: float | None = None) -> object:
            pubs = [(circuit, [observables[0]], values) for circuit, observables, values in pubs]
            return super().run(pubs, precision=precision)

    with pytest.raises(CircuitError, match=r"shape \(1, 3\), expected \(2, 3\)"), torch.no_grad():
        QuantumLayer(build_qnn(spec, Broken()))(torch.ones(3, 2))
