"""What a circuit can learn, told before any training.

A parameter is dead if no expectation value depends on it. Two criteria, the first a proof:

1. Structure: all its rotations commute with every observable as carried back to them, or lie outside the light cone
   (`heisenberg.absorb`). Its gradient is zero exactly, whatever the other parameters are.
2. Numbers: every derivative is below 1e-12 in complex128 at several random points. Expectation values are analytic,
   so a derivative that is not identically zero vanishes at a random point with probability zero; the threshold only
   stands for rounding (1e-15 per gate).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qhybrid.quantum.circuits.feasibility import require_feasible
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.engine.compiler.absorption import absorb
from qhybrid.quantum.engine.compiler.angles import Features
from qhybrid.quantum.engine.compiler.lowering import Rotation, lower
from qhybrid.quantum.engine.compiler.paulis import collect, pauli_terms
from qhybrid.quantum.engine.statevector.circuit import CompiledCircuit
from qhybrid.seeds import plain_generator

_SUSPICIOUS = 1e-4
_ZERO = 1e-12


@dataclass(frozen=True)
class LightCone:
    """What one observable depends on.

    Attributes:
        qubits: Qubits whose gates matter.
        parameters: Names of the parameters that matter.
    """

    qubits: tuple[int, ...]
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """Trainability of a circuit.

    Attributes:
        parameters: Names of all parameters, inputs first.
        inputs: Names of the parameters that carry data.
        dead: Names of the weights that no expectation value depends on, by either criterion.
        dead_inputs: Names of the inputs that no expectation value depends on, by either criterion.
        proven: Names of the weights and inputs that are dead by structure.
        gradient_variance: Variance of d<O_m>/d(parameter) over uniformly drawn angles, mean over observables.
        light_cones: Qubits and parameters that matter for each observable.
        draws: Number of random points behind the numbers.
        seed: Seed of the random points.
    """

    parameters: tuple[str, ...]
    inputs: tuple[str, ...]
    dead: tuple[str, ...]
    dead_inputs: tuple[str, ...]
    proven: tuple[str, ...]
    gradient_variance: dict[str, float]
    light_cones: tuple[LightCone, ...]
    draws: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able content."""
        return asdict(self)


def diagnose(spec: CircuitSpec, draws: int = 32, seed: int = 0) -> Diagnosis:
    """Find dead parameters, gradient variances and light cones.

    Args:
        spec: Circuit and observables to be examined.
        draws: Number of random points, all angles uniform in [-pi, pi].
        seed: Seed of the random points.

    Raises:
        CircuitError: The circuit cannot be simulated exactly on this machine.
    """
    require_feasible(spec, draws)
    parameters = [*spec.inputs, *spec.weights]
    names = tuple(parameter.name for parameter in parameters)
    points = plain_generator(seed).uniform(-np.pi, np.pi, (draws, len(parameters)))
    compiled = _compile(spec, double=False)
    jacobian = _jacobian(compiled, points)
    proven = set(range(len(names))) - compiled.influential
    flat = np.flatnonzero(np.abs(jacobian).max(axis=(0, 1), initial=0.0) < _SUSPICIOUS)
    suspects = {int(column) for column in flat} - proven
    dead = set(proven)
    if suspects:
        exact = np.abs(_jacobian(_compile(spec, double=True), points)).max(axis=(0, 1))
        dead |= {column for column in suspects if exact[column] < _ZERO}
    first_weight = len(spec.inputs)
    variance = jacobian.var(axis=0).mean(axis=0)
    return Diagnosis(
        parameters=names,
        inputs=names[:first_weight],
        dead=tuple(names[k] for k in sorted(dead) if k >= first_weight),
        dead_inputs=tuple(names[k] for k in sorted(dead) if k < first_weight),
        proven=tuple(names[k] for k in sorted(proven)),
        gradient_variance={name: float(value) for name, value in zip(names, variance, strict=True)},
        light_cones=_light_cones(spec),
        draws=draws,
        seed=seed,
    )


def _compile(spec: CircuitSpec, *, double: bool) -> CompiledCircuit:
    observables = collect([pauli_terms(observable) for observable in spec.observables])
    return CompiledCircuit(spec.circuit, observables, [*spec.inputs, *spec.weights], double=double)


def _jacobian(compiled: CompiledCircuit, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Derivatives (draws, M, P)."""
    outputs = compiled.num_outputs
    values = np.repeat(points, outputs, axis=0)
    rows = compiled.vjp(values, np.tile(np.eye(outputs), (len(points), 1)))
    return rows.reshape(len(points), outputs, points.shape[1])


def _light_cones(spec: CircuitSpec) -> tuple[LightCone, ...]:
    features = Features([*spec.inputs, *spec.weights])
    ops = lower(spec.circuit, features)
    cones = []
    for observable in spec.observables:
        kept, reduced = absorb(ops, collect([pauli_terms(observable)]))
        qubits = {qubit for op in kept for qubit in op.qubits}
        for x, z in reduced.paulis:
            qubits |= {qubit for qubit in range(spec.num_qubits) if (x | z) >> qubit & 1}
        columns = {k for op in kept if isinstance(op, Rotation) for k in features.parameters_of(op.angle)}
        names = tuple(features.parameters[k].name for k in sorted(columns))
        cones.append(LightCone(tuple(sorted(qubits)), names))
    return tuple(cones)
