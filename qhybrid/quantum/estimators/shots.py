"""Expectation values from finite shots of the exact or the noisy distribution.

Strings that commute qubit by qubit are read from the same shots, as on a device: all Z of a circuit are one
measurement. The random numbers are fixed by the seed and the parameter values of a call, so a resumed training sees
the same shots as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qhybrid.errors import CircuitError
from qhybrid.quantum.engine.compiler.angles import Features
from qhybrid.quantum.engine.compiler.lowering import Op, Rotation
from qhybrid.quantum.engine.compiler.paulis import Observables
from qhybrid.quantum.engine.density.circuit import DensityCircuit
from qhybrid.quantum.engine.statevector.circuit import CompiledCircuit
from qhybrid.quantum.estimators.distributions import Distribution, Setting
from qhybrid.quantum.noise.channels import NoisyOp
from qhybrid.seeds import plain_generator, value_digest

Array = NDArray[np.float64]
Gradient = Literal["exact", "parameter_shift"]

_CHUNK_BYTES = 64 * 2**20


class SampledCircuit:
    """Sampled expectation values, with the interface of `compiled.CompiledCircuit`.

    `copy.deepcopy` returns the same object.
    """

    def __init__(
        self,
        exact: CompiledCircuit | DensityCircuit,
        distribution: Distribution,
        settings: Sequence[Setting],
        observables: Observables,
        angle_map: AngleMap,
        *,
        shots: int,
        seed: int | None,
        gradient: Gradient,
    ) -> None:
        """Put a circuit's outcomes and what is measured together.

        Args:
            exact: Compiled form of this circuit without sampling, for exact gradients.
            distribution: Probabilities of the outcomes.
            settings: Groups of Pauli strings that are measured together.
            observables: Observables as combinations of the strings of the settings, in the circuit's own numbering.
            angle_map: Rotation angles as functions of the parameters.
            shots: Number of shots of each setting.
            seed: Seed of the sampling; `None` draws anew each time.
            gradient: `exact` passes the gradient of the exact expectation values; `parameter_shift` samples shifted
                circuits with as many shots.
        """
        self.exact = exact
        self._distribution = distribution
        self._settings = list(settings)
        self._angle_map = angle_map
        self._shots, self._seed, self._gradient = shots, seed, gradient
        column = {pauli: t for t, pauli in enumerate(observables.paulis)}
        self._constant = observables.coefficients[:, column[0, 0]] if (0, 0) in column else 0.0
        self._weights = [
            observables.coefficients[:, [column[pauli] for pauli in setting.paulis]] for setting in self._settings
        ]
        self.num_outputs = len(observables.coefficients)
        self.influential = exact.influential

    def __deepcopy__(self, memo: dict[int, Any]) -> SampledCircuit:
        return self

    def expectations(self, values: Array, *, shared: int = 0) -> Array:
        """Sampled means (B, M) at parameter values (B, P)."""
        return self.sample(values)[0]

    def forward(self, values: Array, *, shared: int = 0, keep: bool = True) -> tuple[Array, NDArray[Any]]:
        """Sampled means (B, M); nothing is kept for `vjp`.

        Args:
            values: Parameter values in radians, float64 `(B, P)`.
            shared: Number of last parameters that are the same for all samples; not used, since every sample is
                measured by itself.
            keep: Whether states are kept for `vjp`; not used, since there are none.
        """
        return self.sample(values)[0], np.empty(0)

    def sample(self, values: Array, shots: int | None = None) -> tuple[Array, Array]:
        """Means and standard errors (B, M) of `shots` outcomes (by default the estimator's) of each setting."""
        return self._sample_angles(self._angle_map.values(values), self._generator(values, 0), shots or self._shots)

    def vjp(self, values: Array, grad_output: Array, *, shared: int = 0, states: NDArray[Any] | None = None) -> Array:
        """Gradient (B, P) of sum(grad_output * expectations(values)): exact, or sampled by parameter shifts.

        Args:
            values: Parameter values in radians, float64 `(B, P)`.
            grad_output: Gradient by each expectation value, `(B, M)`.
            shared: How many of the last parameters are the same for all samples.
            states: States that `forward` returned beside the values; `None` computes them again.
        """
        if self._gradient == "exact":
            return self.exact.vjp(values, grad_output, shared=shared)
        angles = self._angle_map.values(values)
        batch, count = angles.shape
        points = np.repeat(angles[None], 2 * count, axis=0)
        for k in range(count):
            points[2 * k, :, k] += math.pi / 2
            points[2 * k + 1, :, k] -= math.pi / 2
        flat = points.reshape(2 * count * batch, count)
        means, _ = self._sample_angles(flat, self._generator(values, 1), self._shots)
        table = means.reshape(count, 2, batch, self.num_outputs)
        by_angle = np.einsum("kbm,bm->bk", (table[:, 0] - table[:, 1]) / 2, grad_output)
        return self._angle_map.pull_back(values, by_angle)

    def _sample_angles(self, angles: Array, generator: np.random.Generator, shots: int) -> tuple[Array, Array]:
        means, variances = (np.zeros((len(angles), self.num_outputs)) for _ in range(2))
        means += self._constant
        chunk = max(1, _CHUNK_BYTES // (8 * self._distribution.num_states))
        for first in range(0, len(angles), chunk):
            rows = slice(first, first + chunk)
            for setting, weights, table in zip(
                self._settings, self._weights, self._distribution.outcomes(angles[rows]), strict=True
            ):
                mean, variance = _draw(table, setting.masks, weights, shots, generator)
                means[rows] += mean
                variances[rows] += variance
        return means, np.sqrt(variances)

    def _generator(self, values: Array, purpose: int) -> np.random.Generator:
        if self._seed is None:
            return plain_generator(None)
        digest = value_digest(f"{self._seed} {purpose}", values)
        return plain_generator(int.from_bytes(digest[:16], "little"))


class AngleMap:
    """Angles of all rotations of a circuit, in their order, as functions of the parameters."""

    def __init__(self, ops: Sequence[NoisyOp] | Sequence[Op], features: Features) -> None:
        angles = [op.angle for op in ops if isinstance(op, Rotation)]
        self._features = features
        self._matrix = np.zeros((len(angles), len(features)))
        for row, angle in enumerate(angles):
            for feature, coefficient in angle.terms:
                self._matrix[row, feature] += coefficient
        self._offsets = np.array([angle.offset for angle in angles])

    def values(self, values: Array) -> Array:
        """Angles (B, K) at parameter values (B, P).

        Raises:
            CircuitError: Another number of columns.
        """
        count = len(self._features.parameters)
        if values.ndim != 2 or values.shape[1] != count:
            raise CircuitError(
                f"parameter values of shape {values.shape}: expected (batch, {count}), one column per parameter"
            )
        columns = self._features.values(np.ascontiguousarray(values, dtype=np.float64))
        return np.asarray(columns @ self._matrix.T + self._offsets)

    def pull_back(self, values: Array, by_angle: Array) -> Array:
        """Gradient by parameter (B, P) from that by angle (B, K)."""
        return self._features.pull_back(values, by_angle @ self._matrix)


def _draw(
    table: Array, masks: NDArray[np.int64], weights: Array, shots: int, generator: np.random.Generator
) -> tuple[Array, Array]:
    """Mean (B, M) over the shots, and variance of that mean, from probabilities (B, outcomes)."""
    table = np.clip(table, 0.0, None)
    table /= table.sum(axis=1, keepdims=True)
    if table.shape[1] <= 4 * shots:
        counts = generator.multinomial(shots, table).astype(np.float64)
        values = _signs(np.arange(table.shape[1]), masks) @ weights.T
        mean = counts @ values / shots
        square = counts @ values**2 / shots
    else:
        edges = np.cumsum(table, axis=1)
        draws = generator.random((len(table), shots)) * edges[:, -1:]
        outcomes = np.stack([np.searchsorted(row, draw, side="right") for row, draw in zip(edges, draws, strict=True)])
        values = _signs(np.minimum(outcomes, table.shape[1] - 1), masks) @ weights.T
        mean, square = values.mean(axis=1), (values**2).mean(axis=1)
    return mean, np.clip(square - mean**2, 0.0, None) / max(shots - 1, 1)


def _signs(outcomes: NDArray[Any], masks: NDArray[np.int64]) -> Array:
    return np.asarray(1.0 - 2.0 * (np.bitwise_count(outcomes[..., None] & masks) & 1), dtype=np.float64)
