"""The Fourier spectrum of a circuit's expectation values in its inputs.

A Pauli rotation by the angle `c . x + ...` brings the frequency vectors -c, 0 and c; a circuit's spectrum are the sums
over its rotations (Schuld, Sweke and Meyer 2021, arXiv 2008.08605). With each input in r rotations and no factors,
those are the integer vectors with entries from -r to r.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.engine.compiler.absorption import absorb
from qhybrid.quantum.engine.compiler.angles import Features
from qhybrid.quantum.engine.compiler.lowering import Rotation, lower
from qhybrid.quantum.engine.compiler.paulis import collect, pauli_terms
from qhybrid.seeds import generator

_TRIES = 1000


def encoding_rotations(spec: CircuitSpec) -> list[NDArray[np.float64]]:
    """How the inputs enter each observable.

    Args:
        spec: Circuit and observables to be examined.

    Returns:
        Coefficients of the inputs in the angle of each rotation that an observable depends on, one array `(R, n_in)`
        per observable.

    Raises:
        CircuitError: An angle is no linear function of the inputs, so that there is no such spectrum.
    """
    features = Features([*spec.inputs, *spec.weights])
    ops = lower(spec.circuit, features)
    inputs = len(spec.inputs)
    found = []
    for observable in spec.observables:
        kept, _ = absorb(ops, collect([pauli_terms(observable)]))
        rows = []
        for op in kept:
            if not isinstance(op, Rotation) or not any(k < inputs for k in features.parameters_of(op.angle)):
                continue
            row = np.zeros(inputs)
            for feature, coefficient in op.angle.terms:
                if feature >= len(features.parameters):
                    raise CircuitError(
                        f"circuit `{spec.name}`: an angle is no linear function of the inputs, so its expectation "
                        "values have no spectrum of their own: choose another core than `fourier`"
                    )
                if feature < inputs:
                    row[feature] = coefficient
            rows.append(row)
        found.append(np.array(rows).reshape(-1, inputs))
    return found


def draw_frequencies(spec: CircuitSpec, terms: int, seed: int) -> NDArray[np.float64]:
    """Random frequency vectors of a circuit's spectrum, as often as the circuit's encoding reaches them.

    Each rotation contributes -c, 0, 0 or c with equal chance, the differences of its two eigenvalues ("tree sampling"
    of Landman et al. 2022, arXiv 2210.13200). The constant is left out, unless an observable has nothing else.

    Args:
        spec: Circuit and observables to be examined.
        terms: Number of vectors for each observable.
        seed: Seed of the draw.

    Returns:
        Frequency vectors of all observables, `(n_out, terms, n_in)`.

    Raises:
        CircuitError: As `encoding_rotations`.
    """
    random = generator(seed, "frequencies")
    drawn = np.zeros((spec.num_outputs, terms, len(spec.inputs)))
    for output, rotations in enumerate(encoding_rotations(spec)):
        if not rotations.any():
            continue
        for term in range(terms):
            for _ in range(_TRIES):
                drawn[output, term] = random.choice([-1.0, 0.0, 0.0, 1.0], size=len(rotations)) @ rotations
                if drawn[output, term].any():
                    break
    return drawn
