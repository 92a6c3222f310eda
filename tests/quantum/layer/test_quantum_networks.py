"""`QuantumLayer` does what its network says: gradient objects, observables in every form, precision, new parts."""

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterVector
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparseObservable, SparsePauliOp
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.gradients import (
    DerivativeType,
    LinCombEstimatorGradient,
    ParamShiftEstimatorGradient,
    SPSAEstimatorGradient,
)
from qiskit_machine_learning.neural_networks import EstimatorQNN

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.ansatz import build_spec
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.devices.snapshots import crop, snapshot
from qhybrid.quantum.estimators.aer import AerEstimator
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.layer.layer import QuantumLayer
from qhybrid.quantum.layer.networks import gradient_of
from qhybrid.quantum.layer.spsa import Spsa


class Counter(StatevectorEstimator):
    """Counts expectation values, which is what a device is paid for."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.values = self.jobs = 0

    def run(self, pubs: object, *, precision: float | None = None) -> object:
        job = super().run(pubs := list(pubs), precision=precision)
        self.values += sum(result.data.evs.size for result in job.result())
        self.jobs += 1
        return job


class CompiledCounter(CompiledEstimator):
    """The same, quick enough for all shifts."""

    values = 0

    def run(self, pubs: object, *, precision: float | None = None) -> object:
        job = super().run(pubs, precision=precision)
        self.values += sum(result.data.evs.size for result in job.result())
        return job


@pytest.fixture
def spec() -> CircuitSpec:
    return build_spec("ry_rz_ladder", 2, 1)


def network(spec: CircuitSpec, estimator: object, **options: object) -> EstimatorQNN:
    defaults = {"observables": list(spec.observables), "input_gradients": True, "default_precision": 0.0}
    return EstimatorQNN(
        circuit=spec.circuit,
        estimator=estimator,
        input_params=spec.inputs,
        weight_params=spec.weights,
        **defaults | options,
    )


def step(layer: torch.nn.Module, batch: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x = torch.linspace(-1, 1, 2 * batch).reshape(batch, 2).requires_grad_()
    out = layer(x)
    (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum().backward()
    return out.detach(), x.grad, layer.weight.grad.clone()


WEIGHTS = np.linspace(-0.8, 0.9, 4)


def test_spsa_of_the_network_costs_96_values_per_step_not_1824() -> None:
    spec = build_spec("ry_rz_ladder", 4, 3)
    estimator = Counter()
    layer = QuantumLayer(network(spec, estimator, gradient=SPSAEstimatorGradient(estimator, epsilon=0.1, seed=7)))
    x = torch.zeros(8, 4, requires_grad=True)
    layer(x).sum().backward()
    # 8 samples, 4 outputs: at the point, ahead of it and behind it.
    assert (estimator.values, estimator.jobs) == (96, 1)
    # Shifts of 28 angles, in both directions.
    shifts = CompiledCounter()
    QuantumLayer(network(spec, shifts), gradient="parameter_shift")(x).sum().backward()
    assert shifts.values == 32 * (1 + 2 * 28) == 1824


def test_settings_of_spsa_are_read() -> None:
    spec, estimator = build_spec("ry_rz_ladder", 2, 1), StatevectorEstimator()
    given = SPSAEstimatorGradient(estimator, epsilon=0.25, batch_size=3, seed=11)
    found = gradient_of(network(spec, estimator, gradient=given))
    assert isinstance(found, Spsa)
    assert (found.epsilon, found.directions) == (0.25, 3)
    again = gradient_of(network(spec, estimator, gradient=SPSAEstimatorGradient(estimator, 0.25, 3, seed=11)))
    other = gradient_of(network(spec, estimator, gradient=SPSAEstimatorGradient(estimator, 0.25, 3, seed=12)))
    assert found == again != other
    # The caller's generator is where it was.
    fresh = np.random.default_rng(11)
    assert given._seed.integers(2**32) == fresh.integers(2**32)


def test_the_smallest_step_of_spsa_survives_single_precision(spec: CircuitSpec) -> None:
    """Stock's default step is 1e-6, as large as the rounding of complex64."""
    estimator = CompiledEstimator()
    gradients = []
    for seed in range(64):
        given = SPSAEstimatorGradient(estimator, seed=seed, batch_size=8)
        gradients.append(step(QuantumLayer(network(spec, estimator, gradient=given), WEIGHTS))[2])
    exact = step(QuantumLayer(network(spec, estimator), WEIGHTS))[2]
    found = torch.stack(gradients)
    error = found.std(0) / np.sqrt(len(gradients))
    assert ((found.mean(0) - exact).abs() < 5 * error + 1e-3).all()
    assert error.max() < 0.1


@pytest.mark.parametrize("kind", [CompiledEstimator, StatevectorEstimator, AerEstimator])
@pytest.mark.parametrize("name", ["param_shift", "lin_comb", "other estimator"])
def test_gradient_objects_give_the_gradient_of_the_stock_connector(kind: type, name: str, spec: CircuitSpec) -> None:
    estimator = kind()
    gradients = {
        "param_shift": ParamShiftEstimatorGradient(estimator),
        "lin_comb": LinCombEstimatorGradient(estimator),
        "other estimator": ParamShiftEstimatorGradient(StatevectorEstimator()),
    }
    qnn = network(spec, estimator, gradient=gradients[name])
    ours, stock = QuantumLayer(qnn, WEIGHTS), TorchConnector(qnn, WEIGHTS)
    for found, expected in zip(step(ours), step(stock), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_gradient_object_is_run_once_and_only_for_what_is_wanted(spec: CircuitSpec) -> None:
    estimator, paid = Counter(), Counter()
    layer = QuantumLayer(network(spec, estimator, gradient=ParamShiftEstimatorGradient(paid)), WEIGHTS)
    with torch.no_grad():
        layer(torch.zeros(3, 2))
    assert (paid.jobs, estimator.jobs) == (0, 1)
    layer(torch.zeros(3, 2)).sum().backward()
    # 4 weights, two shifts each, 3 samples, 2 outputs; no input asks for a gradient.
    assert (paid.jobs, paid.values, estimator.jobs) == (1, 4 * 2 * 3 * 2, 2)


def test_what_the_layer_is_told_comes_before_the_network(spec: CircuitSpec) -> None:
    estimator = Counter()
    qnn = network(spec, estimator, gradient=SPSAEstimatorGradient(estimator, 0.1))
    step(QuantumLayer(qnn, WEIGHTS, gradient="parameter_shift"))
    assert estimator.values == 3 * 2 * (1 + 2 * 6)


def test_derivatives_that_are_none_are_refused(spec: CircuitSpec) -> None:
    estimator = StatevectorEstimator()
    for kind in (DerivativeType.IMAG, DerivativeType.COMPLEX):
        gradient = LinCombEstimatorGradient(estimator, derivative_type=kind)
        with pytest.raises(CircuitError, match=kind.name):
            QuantumLayer(network(spec, estimator, gradient=gradient))


def test_an_exchanged_gradient_or_estimator_holds_from_the_next_call(spec: CircuitSpec) -> None:
    first, second = Counter(), Counter()
    qnn = network(spec, first)
    layer = QuantumLayer(qnn, WEIGHTS)
    step(layer)
    qnn.gradient = SPSAEstimatorGradient(first, 0.1)
    step(layer)
    assert first.values == 6 * (1 + 2 * 6) + 6 * 3
    qnn.estimator = second
    qnn.gradient = ParamShiftEstimatorGradient(second)
    step(layer)
    assert (first.jobs, second.jobs) == (2, 1)


@pytest.mark.parametrize("kind", [CompiledEstimator, StatevectorEstimator])
@pytest.mark.parametrize(
    "observables",
    [
        ["ZI", "XX"],
        [{"ZI": 0.5, "XY": -1.0}, "IZ"],
        [{"0+": 1.0}],
        (SparsePauliOp(["ZZ", "XI"], [1, 2]), "ZZ"),
        [SparseObservable("ZX")],
        {"ZZ": 1.0, "XI": 1.0},
    ],
    ids=str,
)
def test_observables_in_every_form_that_stock_takes(kind: type, observables: object) -> None:
    spec = build_spec("ry_rz_ladder", 2, 1)
    qnn = EstimatorQNN(
        circuit=spec.circuit,
        estimator=kind(),
        observables=observables,
        input_params=spec.inputs,
        weight_params=spec.weights,
        default_precision=0.0,
    )
    x = torch.linspace(-1, 1, 6).reshape(3, 2)
    if "0+" in str(observables):
        # StatevectorEstimator knows no projectors.
        qnn.estimator = CompiledEstimator(double=True)
    expected = torch.as_tensor(qnn.forward(x.numpy(), WEIGHTS), dtype=torch.float32)
    torch.testing.assert_close(QuantumLayer(qnn, WEIGHTS)(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [CompiledEstimator, AerEstimator, StatevectorEstimator])
@pytest.mark.parametrize("label", ["Z", "ZI", "ZIII", "ZZZZZ"])
def test_observables_over_another_number_of_qubits_are_refused_with_both_numbers(kind: type, label: str) -> None:
    spec = build_spec("ry_rz_ladder", 3, 1)
    for observable in (label, SparsePauliOp(label), {label: 1.0}):
        qnn = EstimatorQNN(
            circuit=spec.circuit,
            estimator=kind(),
            observables=[observable],
            input_params=spec.inputs,
            weight_params=spec.weights,
        )
        with pytest.raises(CircuitError, match=f"acts on {len(label)} qubits and the circuit has 3"):
            QuantumLayer(qnn)


def test_a_circuit_that_lost_its_layout_is_refused() -> None:
    x = ParameterVector("x", 1)
    circuit = QuantumCircuit(2)
    circuit.ry(x[0], 1)
    device = crop(snapshot("fake_manila"), range(5))
    isa = transpile(circuit, device, initial_layout=[3, 2], optimization_level=1)
    lost = QuantumCircuit(5)
    lost.compose(isa, inplace=True)
    options = {"estimator": CompiledEstimator(double=True), "observables": [SparsePauliOp("ZI")], "weight_params": x}
    with pytest.raises(CircuitError, match=r"acts on 2 qubits and the circuit has 5; .*lost its layout"):
        QuantumLayer(EstimatorQNN(circuit=lost, **options))
    layer = QuantumLayer(EstimatorQNN(circuit=isa, **options), [1.0])
    assert layer().item() == pytest.approx(np.cos(1.0), abs=1e-6)
    with pytest.raises(CircuitError, match=r"acts on 3 qubits and the circuit has 5 \(2 before"):
        QuantumLayer(EstimatorQNN(circuit=isa, **options | {"observables": [SparsePauliOp("ZII")]}))
    with pytest.raises(CircuitError, match="acts on 2 qubits and the circuit has 5"):
        CompiledEstimator().compile(lost, [SparsePauliOp("ZI")], x)


@pytest.mark.parametrize("kind", [CompiledEstimator, AerEstimator])
@pytest.mark.parametrize("precision", [1 / 64, 0.05, 0.0, None])
def test_a_layer_asks_for_the_precision_that_its_network_asks_for(kind: type, precision: float | None) -> None:
    """Whatever the shots of the estimator; compiled, a layer and its own network are even equal at equal seeds."""
    spec = build_spec("ry_rz_ladder", 2, 1)
    qnn = network(spec, kind(shots=10_000, seed=5), observables=["ZZ"], default_precision=precision)
    x = torch.linspace(-1, 1, 6).reshape(3, 2)
    with torch.no_grad():
        found = QuantumLayer(qnn, WEIGHTS)(x)
    expected = torch.as_tensor(qnn.forward(x.numpy(), WEIGHTS.astype(np.float32)), dtype=torch.float32)
    shots = {1 / 64: 4096, 0.05: 400, 0.0: 0, None: 10_000}[precision]
    for values in (found, expected):
        counts = (values.double() + 1) / 2 * shots
        torch.testing.assert_close(counts, counts.round(), atol=1e-2, rtol=0)
    alike = 1e-6 if kind is CompiledEstimator or not shots else 6 / np.sqrt(shots)
    torch.testing.assert_close(found, expected, atol=alike, rtol=0)
