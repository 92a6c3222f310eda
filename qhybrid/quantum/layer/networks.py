"""Networks of qiskit-machine-learning: how one is made, and what one asks for.

The only module that imports qiskit_machine_learning. Settings of its gradient objects are not published; the few that
are read here are checked by `tests/quantum/layer/test_quantum_networks.py`, which fails when a new version moves them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from qiskit.circuit import Parameter
from qiskit.primitives.base import BaseEstimatorV2
from qiskit.quantum_info import SparsePauliOp
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.gradients import (
    BaseEstimatorGradient,
    DerivativeType,
    ParamShiftEstimatorGradient,
    SPSAEstimatorGradient,
)
from qiskit_machine_learning.neural_networks import EstimatorQNN

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.devices.native import laid_out
from qhybrid.quantum.estimators.pubs import as_pauli_sum
from qhybrid.quantum.layer.runtime_estimators import require_runnable
from qhybrid.quantum.layer.spsa import Spsa

__all__ = [
    "BaseEstimatorGradient",
    "EstimatorQNN",
    "Gradient",
    "TorchConnector",
    "build_qnn",
    "gradient_of",
    "observables_of",
    "parameters_of",
]

Gradient: TypeAlias = Literal["auto", "parameter_shift", "spsa"] | Spsa | Any
"""How a layer differentiates: by name, by settings of SPSA, or by a gradient object that is run as it is."""


def build_qnn(spec: CircuitSpec, estimator: BaseEstimatorV2) -> EstimatorQNN:
    """A network with input gradients that asks for no precision of its own (stock defaults: neither).

    So the shots of every value, forward and backward, through `qnn.forward` or a `QuantumLayer`, are those that the
    estimator takes by itself: its `shots`, the `default_shots` of its options or its default precision, as they are
    when it is run. (A network made by `EstimatorQNN(...)` asks for a precision of 1/64, which takes their place.)

    Args:
        spec: Circuit, roles of its parameters, observables.
        estimator: Estimator of any kind that the network is to use.

    Raises:
        CircuitError: An estimator of Qiskit Runtime, and a circuit that it cannot run: `hardware.device_estimator`
            places the circuit on a device first.
    """
    require_runnable(estimator, spec.circuit)
    return EstimatorQNN(
        circuit=spec.circuit,
        estimator=estimator,
        observables=list(spec.observables),
        input_params=list(spec.inputs),
        weight_params=list(spec.weights),
        input_gradients=True,
        default_precision=None,
    )


def parameters_of(qnn: EstimatorQNN) -> list[Parameter]:
    """Inputs, then weights: the columns of a layer's values."""
    return [*(qnn.input_params or ()), *(qnn.weight_params or ())]


def observables_of(qnn: EstimatorQNN) -> list[SparsePauliOp]:
    """One sum of Pauli strings for each output.

    Raises:
        CircuitError: One is no operator, or acts on another number of qubits than the circuit has.
    """
    circuit = qnn.circuit
    return [laid_out(as_pauli_sum(observable), circuit) for observable in qnn.observables]


def gradient_of(qnn: EstimatorQNN) -> Gradient:
    """How a network wants to be differentiated.

    Returns:
        `auto` for parameter shifts through the network's own estimator, which is also what a network has that was
        given no gradient; settings of SPSA; or the network's gradient object, if nothing here does what it does.

    Raises:
        CircuitError: The object gives another derivative than that of an expectation value.
    """
    gradient = qnn.gradient
    if gradient.derivative_type != DerivativeType.REAL:
        raise CircuitError(
            f"the network's gradient {type(gradient).__name__} has derivative type {gradient.derivative_type.name}, "
            "which is not the derivative of an expectation value: use DerivativeType.REAL"
        )
    # Another estimator or a transpilation of its own: the object knows what it is for.
    own = gradient._estimator is not qnn.estimator
    if type(gradient) is ParamShiftEstimatorGradient and not own:
        return "auto"
    if type(gradient) is SPSAEstimatorGradient and not own and gradient._pass_manager is None:
        # The seed of the object is a generator; a copy of it leaves the caller's numbers where they are.
        seed = int(copy.deepcopy(gradient._seed).integers(2**63))
        return Spsa(epsilon=float(gradient._epsilon), directions=int(gradient._batch_size), seed=seed)
    return gradient


def differentiate(
    gradient: BaseEstimatorGradient,
    circuit: Any,
    observables: Sequence[SparsePauliOp],
    values: Any,
    parameters: Sequence[Parameter],
) -> list[Any]:
    """Derivatives by a gradient object, in one call of it.

    Args:
        gradient: Gradient object of qiskit-machine-learning.
        circuit: Circuit to be differentiated.
        observables: Observables to be measured, M of them.
        values: Parameter values in radians, (B, P), in the order of `circuit.parameters`.
        parameters: Parameters to differentiate by, D of them.

    Returns:
        B * M arrays (D,): all samples of the first observable, then of the next.
    """
    count = len(values) * len(observables)
    job = gradient.run(
        [circuit] * count,
        [observable for observable in observables for _ in values],
        [row for _ in observables for row in values],
        parameters=[list(parameters)] * count,
    )
    return list(job.result().gradients)
