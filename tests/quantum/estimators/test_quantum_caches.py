"""One estimator for many circuits: what it keeps of one is never taken for another."""

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import XGate
from qiskit.primitives import StatevectorEstimator
from qiskit.primitives.base import BaseEstimatorV2
from qiskit_aer.noise import NoiseModel, depolarizing_error

from qhybrid.quantum.devices.snapshots import crop, noise_model, snapshot
from qhybrid.quantum.estimators.aer import AerEstimator
from qhybrid.quantum.estimators.compiled import CompiledEstimator

ESTIMATORS = (CompiledEstimator, AerEstimator)


def both_ways(estimator: BaseEstimatorV2, circuits: list[QuantumCircuit], observable: str) -> list[np.ndarray]:
    """Values in one job, in jobs of their own, and in the other order."""
    together = [float(result.data.evs) for result in estimator.run([(c, observable) for c in circuits]).result()]
    alone = [float(estimator.run([(c, observable)]).result()[0].data.evs) for c in circuits]
    back = [float(estimator.run([(c, observable)]).result()[0].data.evs) for c in reversed(circuits)]
    return [np.array(together), np.array(alone), np.array(back[::-1])]


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_arguments_of_gates_do_not_run_together(kind: type[BaseEstimatorV2]) -> None:
    circuits = []
    for arguments in ((2, 1, 12), (2, 1.01, 2), (2, 11, 2)):
        circuits.append(QuantumCircuit(1))
        circuits[-1].u(*arguments, 0)
    expected = [StatevectorEstimator().run([(c, "X")]).result()[0].data.evs for c in circuits]
    np.testing.assert_allclose(expected[:2], [0.4913, 0.4836], atol=1e-4)
    for values in both_ways(kind(), circuits, "X"):
        np.testing.assert_allclose(values, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_label_with_an_error_of_its_own_is_another_gate(kind: type[BaseEstimatorV2]) -> None:
    model = NoiseModel(basis_gates=["x"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.4, 1), "err")
    circuits = []
    for label in (None, "err", None, "other"):
        circuits.append(QuantumCircuit(1))
        circuits[-1].append(XGate(label=label), [0])
    for values in both_ways(kind(model), circuits, "Z"):
        np.testing.assert_allclose(values, [-1, -0.6, -1, -1], atol=1e-6)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_units_of_delays_are_told_apart(kind: type[BaseEstimatorV2]) -> None:
    device = crop(snapshot("fake_manila"), [0])
    circuits = []
    for unit in ("ns", "us"):
        circuits.append(QuantumCircuit(1))
        circuits[-1].x(0)
        circuits[-1].delay(100, 0, unit)
    for values in both_ways(kind(noise_model(device), readout_error=False), circuits, "Z"):
        assert values[0] == pytest.approx(-0.998, abs=2e-3)
        assert values[1] == pytest.approx(0.065, abs=2e-3)


def test_changed_settings_hold_for_circuits_that_were_compiled_before() -> None:
    circuit = QuantumCircuit(1)
    circuit.ry(1.0, 0)
    estimator = CompiledEstimator(shots=100, seed=1)
    first = estimator.run([(circuit, "Z")]).result()[0]
    estimator.seed, estimator.shots = 2, 400
    second = estimator.run([(circuit, "Z")]).result()[0]
    fresh = CompiledEstimator(shots=400, seed=2).run([(circuit, "Z")]).result()[0]
    assert (second.data.evs, second.metadata["shots"]) == (fresh.data.evs, 400)
    assert first.data.evs != second.data.evs


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_the_noise_is_that_of_the_moment_when_the_estimator_was_made(kind: type[BaseEstimatorV2]) -> None:
    model = NoiseModel(basis_gates=["x"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.4, 1), "x")
    circuit = QuantumCircuit(2)
    circuit.x(0)
    other = QuantumCircuit(2)
    other.x([0, 1])
    estimator = kind(model)
    before = estimator.run([(circuit, "IZ")]).result()[0].data.evs
    model.add_quantum_error(depolarizing_error(0.8, 1), "x", [0], warnings=False)
    after = [float(r.data.evs) for r in estimator.run([(circuit, "IZ"), (other, "IZ")]).result()]
    np.testing.assert_allclose([before, *after], [-0.6] * 3, atol=1e-6)
