"""Layers over estimators with shots of their own, Runtime's above all: one number of shots, and clear lines."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterVector
from qiskit.primitives import BackendEstimatorV2, StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import EstimatorV2 as StockAerEstimator
from qiskit_ibm_runtime import EstimatorV2 as DeprecatedEstimator
from qiskit_ibm_runtime.executor_estimator import Estimator as RuntimeEstimator
from qiskit_machine_learning.neural_networks import EstimatorQNN

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.ansatz import build_spec
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.devices.snapshots import crop, snapshot
from qhybrid.quantum.estimators.aer import AerEstimator
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.layer.layer import QuantumLayer
from qhybrid.quantum.layer.networks import build_qnn

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2)


def placed(device: Any) -> CircuitSpec:
    """A circuit in the gates of a device, if there is one, with <Z0 Z1>."""
    spec = build_spec("ry_rz_ladder", 2, 1)
    if device is None:
        return replace(spec, observables=(SparsePauliOp("ZZ"),))
    isa = transpile(spec.circuit, device, initial_layout=[1, 0], optimization_level=1, seed_transpiler=0)
    return replace(spec, circuit=isa, observables=(SparsePauliOp("ZZ").apply_layout(isa.layout),))


def with_options(estimator: Any, **options: Any) -> Any:
    for name, value in options.items():
        setattr(estimator.options, name, value)
    return estimator


ESTIMATORS = {
    "compiled": lambda device: CompiledEstimator(shots=100, seed=1),
    "aer": lambda device: AerEstimator(shots=100, seed=1),
    "statevector": lambda device: StatevectorEstimator(default_precision=0.1, seed=1),
    "backend": lambda device: BackendEstimatorV2(backend=AerSimulator(), options={"default_precision": 0.1}),
    "stock aer": lambda device: StockAerEstimator(options={"default_precision": 0.1}),
    "runtime": lambda device: with_options(RuntimeEstimator(mode=device), default_shots=100, resilience_level=0),
    "deprecated": lambda device: with_options(DeprecatedEstimator(mode=device), default_shots=100),
}


@pytest.fixture(scope="module")
def device() -> Any:
    return crop(snapshot("fake_manila"), [3, 2])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ESTIMATORS)
def test_layer_and_network_take_the_shots_of_the_estimator(
    name: str, device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimator, asked = ESTIMATORS[name](device), []
    run = type(estimator).run

    def watched(self: Any, pubs: Any, *, precision: float | None = None) -> Any:
        pubs = list(pubs)
        asked.append((precision, [pub[3] for pub in pubs if len(pub) > 3]))
        return run(self, pubs, precision=precision)

    monkeypatch.setattr(type(estimator), "run", watched)
    qnn = build_qnn(placed(device), estimator)
    weights = np.linspace(0.2, 0.9, qnn.num_weights)
    layer = QuantumLayer(qnn, weights, gradient="parameter_shift")
    out = layer(torch.from_numpy(X).requires_grad_())
    out.sum().backward()
    alone = qnn.forward(X, weights)
    assert asked == [(None, [])] * 2
    if name not in ("statevector", "stock aer"):
        # Means of 100 values of +1 and -1; the others add noise of that size.
        for values in (out.detach().double().numpy(), alone):
            counts = (values + 1) / 2 * 100
            np.testing.assert_allclose(counts, counts.round(), atol=1e-3)
    assert not np.allclose(out.detach().numpy(), np.sign(alone))


@pytest.mark.parametrize("gradient", ["auto", "parameter_shift", "spsa"])
def test_shots_that_are_changed_hold_for_layer_and_network(gradient: Any) -> None:
    estimator = CompiledEstimator(shots=100, seed=3)
    spec = placed(None)
    qnn = build_qnn(spec, estimator)
    weights = np.linspace(0.2, 0.9, qnn.num_weights, dtype=np.float32)
    layer = QuantumLayer(qnn, weights, gradient=gradient)
    with torch.no_grad():
        layer(torch.from_numpy(X))
        estimator.shots = 7
        for values in (layer(torch.from_numpy(X)).double().numpy(), qnn.forward(X, weights)):
            counts = (values + 1) / 2 * 7
            np.testing.assert_allclose(counts, counts.round(), atol=1e-4)
        estimator.shots = None
        exact = QuantumLayer(build_qnn(spec, CompiledEstimator()), weights)(torch.from_numpy(X))
        torch.testing.assert_close(layer(torch.from_numpy(X)), exact)


def test_default_shots_that_are_set_after_the_network_was_made_hold(device: Any) -> None:
    estimator = with_options(RuntimeEstimator(mode=device), resilience_level=0)
    layer = QuantumLayer(build_qnn(placed(device), estimator), seed=0)
    estimator.options.default_shots = 10
    with torch.no_grad():
        counts = (layer(torch.from_numpy(X)).double() + 1) / 2 * 10
    torch.testing.assert_close(counts, counts.round(), atol=1e-4, rtol=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", [RuntimeEstimator, DeprecatedEstimator])
def test_a_logical_circuit_is_refused_with_the_remedy(kind: type) -> None:
    estimator = kind(mode=snapshot("fake_manila"))
    spec = build_spec("ry_rz_ladder", 2, 1)
    line = r"executes \(`ry` on qubits \[0\]\).* use `hardware.device_estimator\(spec, backend\)`, which places it"
    with pytest.raises(CircuitError, match=line) as caught:
        build_qnn(spec, estimator)
    assert "\n" not in str(caught.value)
    stock = EstimatorQNN(
        circuit=spec.circuit, estimator=estimator, input_params=spec.inputs, weight_params=spec.weights
    )
    with pytest.raises(CircuitError, match=line):
        QuantumLayer(stock)
    with pytest.raises(CircuitError, match="`ry` on qubits"):
        QuantumLayer(stock, gradient="spsa")


def test_gates_between_qubits_that_are_not_coupled_and_too_many_qubits_are_refused() -> None:
    a = ParameterVector("a", 1)
    apart = QuantumCircuit(3)
    apart.rz(a[0], 0)
    apart.cx(0, 2)
    large = QuantumCircuit(6)
    large.rz(a[0], 5)
    for circuit, words in ((apart, r"`cx` on qubits \[0, 2\]"), (large, "6 qubits on a device of 5")):
        spec = CircuitSpec("own", circuit, (), tuple(a), (SparsePauliOp("Z" * circuit.num_qubits),))
        with pytest.raises(CircuitError, match=words):
            build_qnn(spec, RuntimeEstimator(mode=snapshot("fake_manila")))


def test_a_whole_large_device_is_refused_before_it_is_simulated() -> None:
    torino = snapshot("fake_torino")
    with pytest.raises(CircuitError, match=r"covers all 133 qubits of `fake_torino`.*hardware.device_estimator") as got:
        build_qnn(placed(torino), RuntimeEstimator(mode=torino))
    assert "\n" not in str(got.value)


def test_a_simulator_without_couplings_takes_logical_circuits() -> None:
    spec = build_spec("ry_rz_ladder", 2, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = QuantumLayer(build_qnn(spec, with_options(RuntimeEstimator(mode=AerSimulator()), default_shots=10)))
        with torch.no_grad():
            assert layer(torch.from_numpy(X)).shape == (3, 2)
