"""How gradients shrink with the size of a circuit.

The variance of d<O>/dw over random angles is what an optimizer has to work with before training. Where it falls
exponentially with the number of qubits (a barren plateau) no budget of shots helps; `gradient_scaling` measures it for
a family of circuits and fits the exponents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from qhybrid.errors import CircuitError
from qhybrid.quantum.analysis.diagnosis import Diagnosis, diagnose
from qhybrid.quantum.circuits.spec import CircuitSpec


@dataclass(frozen=True)
class GradientScaling:
    """Gradient variance against qubits and layers.

    Attributes:
        qubits: Numbers of qubits that were measured.
        layers: Numbers of layers that were measured.
        variance: `variance[i][j]` belongs to `qubits[i]` and `layers[j]`: the mean variance over all pairs of a weight
            and an observable that it reaches.
        qubit_exponents: Exponent a of variance ~ 2^(-a qubits), one for each number of layers; 1 is a barren plateau, 0
            none. `None` where a variance is zero or there is one number of qubits only.
        layer_exponents: Exponent b of variance ~ layers^(-b), one for each number of qubits. `None` where a variance is
            zero or there is one number of layers only.
        draws: Number of random points for each circuit.
        seed: Seed of the random points.
    """

    qubits: tuple[int, ...]
    layers: tuple[int, ...]
    variance: tuple[tuple[float, ...], ...]
    qubit_exponents: tuple[float | None, ...]
    layer_exponents: tuple[float | None, ...]
    draws: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able content."""
        return asdict(self)


def gradient_scaling(
    build: Callable[[int, int], CircuitSpec],
    qubits: Sequence[int],
    layers: Sequence[int],
    draws: int = 64,
    seed: int = 0,
) -> GradientScaling:
    """Measure gradient variances over a family of circuits.

    Args:
        build: Circuit of (number of qubits, number of layers), e.g. `functools.partial(build_spec, "ry_rz_ladder")`.
        qubits: Numbers of qubits, all different.
        layers: Numbers of layers, all different.
        draws: Number of random points for each circuit, angles uniform in [-pi, pi].
        seed: Seed of the random points.

    Raises:
        CircuitError: Nothing to measure, or a circuit that cannot be simulated on this machine.
    """
    if not qubits or not layers or len(set(qubits)) < len(qubits) or len(set(layers)) < len(layers):
        raise CircuitError(f"gradient variances over qubits {list(qubits)} and layers {list(layers)}: give each once")
    table = np.array([[reached_variance(diagnose(build(n, depth), draws, seed)) for depth in layers] for n in qubits])
    logarithm = np.log(np.asarray(layers, dtype=np.float64))
    return GradientScaling(
        qubits=tuple(qubits),
        layers=tuple(layers),
        variance=tuple(tuple(float(value) for value in row) for row in table),
        qubit_exponents=tuple(_decay(np.asarray(qubits) * np.log(2.0), column) for column in table.T),
        layer_exponents=tuple(_decay(logarithm, row) for row in table),
        draws=draws,
        seed=seed,
    )


def reached_variance(diagnosis: Diagnosis) -> float:
    """Mean gradient variance over all pairs of a weight and an observable whose light cone holds it; 0 without any."""
    inputs = {*diagnosis.inputs}
    weights = [name for name in diagnosis.parameters if name not in inputs]
    pairs = sum(name in cone.parameters for cone in diagnosis.light_cones for name in weights)
    if not pairs:
        return 0.0
    # `gradient_variance` is a mean over all observables, those outside the cone contributing zero.
    total = sum(diagnosis.gradient_variance[name] for name in weights) * len(diagnosis.light_cones)
    return total / pairs


def _decay(coordinate: Any, variance: Any) -> float | None:
    if len(variance) < 2 or not np.all(variance > 0):
        return None
    return -float(np.polyfit(coordinate, np.log(variance), 1)[0])
