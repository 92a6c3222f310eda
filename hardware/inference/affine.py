"""How a device distorts expectation values: a factor and a shift of its own for each observable on each copy.

Depolarization shrinks an expectation value, readout errors shrink and shift it: measured = a * exact + b + scatter. The
exact values of reference points are free of error, so that the measured ones are regressed on them (no errors in both
variables), and the line is inverted: (measured - b) / a.

A copy has few points. So `a` and `b` are a mean over all, plus what is the observable's own, plus what is the
observable's own on this copy, each part drawn from a normal law whose width is learned from the points: a mixed model
(Laird and Ware 1982, Biometrics 38, 963), fitted by EM. Points that tell nothing of a copy leave it at the observable's
mean. Scatter beyond the stated errors, which is what the affine model leaves unexplained, is learned as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ITERATIONS = 100
# Change of a width in units of expectation values.
_CONVERGED = 3e-5
# Widths before any point is seen: a factor between none and twice the signal, a shift of the whole range.
_MEAN_WIDTH = 1.0
_START_WIDTH = 0.1


@dataclass(frozen=True)
class Measured:
    """Expectation values from a device.

    Attributes:
        values: Measured expectation values, `(P, n_out)`.
        errors: Standard errors `(P, n_out)`, positive; NaN where unknown.
        copies: The copy of the circuit that each row ran on, `(P,)`, from 0.
    """

    values: Array
    errors: Array
    copies: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, chosen: NDArray[np.bool_] | slice) -> Measured:
        """Some of the rows.

        Args:
            chosen: Mask `(P,)` or slice.
        """
        return Measured(self.values[chosen], self.errors[chosen], self.copies[chosen])


@dataclass(frozen=True)
class Distortion:
    """A fitted distortion.

    Attributes:
        factors: Fitted factors a of each copy and output, `(n_copies, n_out)`.
        shifts: Fitted shifts b of each copy and output, `(n_copies, n_out)`.
        covariances: Covariance matrices of each pair (a, b), `(n_copies, n_out, 2, 2)`.
        scatter: Standard deviation of measured values about the line, beyond their stated errors.
    """

    factors: Array
    shifts: Array
    covariances: Array
    scatter: float

    def undo(self, measured: Measured, *, scatter: bool = True) -> tuple[Array, Array]:
        """Values as they were before the distortion.

        Args:
            measured: Rows on copies that the fit knows.
            scatter: Whether the scatter about the line counts as an error.

        Returns:
            Values and standard errors, `(P, n_out)` each. The errors hold the stated ones, the fit's and the scatter.
        """
        factors, shifts = self.factors[measured.copies], self.shifts[measured.copies]
        values = (measured.values - shifts) / factors
        line = np.stack([values, np.ones_like(values)], axis=-1)
        of_fit = np.einsum("poi,poij,poj->po", line, self.covariances[measured.copies], line)
        beyond = self.scatter**2 if scatter else 0.0
        return values, np.sqrt(measured.errors**2 + of_fit + beyond) / np.abs(factors)


def fit_distortion(exact: Array, measured: Measured, copies: int) -> Distortion:
    """Fit factors and shifts to reference points.

    Args:
        exact: Exact expectation values of the reference points, `(P, n_out)`.
        measured: Values of the same points from the device; values without a known error are left out.
        copies: Copies of the circuit in all, those without a point included.
    """
    outputs = exact.shape[1]
    rows, observables = np.nonzero(np.isfinite(measured.errors) & np.isfinite(measured.values))
    x = exact[rows, observables]
    found = _maximize_likelihood(
        _Points(
            np.stack([x, np.ones_like(x)], axis=1),
            measured.values[rows, observables] - x,
            np.square(measured.errors[rows, observables]),
            measured.copies[rows] * outputs + observables,
        ),
        copies,
        outputs,
    )
    line = found.line.reshape(copies, outputs, 2)
    return Distortion(
        1 + line[..., 0], line[..., 1], found.covariance.reshape(copies, outputs, 2, 2), float(np.sqrt(found.scatter))
    )


@dataclass(frozen=True)
class _Points:
    """N measured values: `(x, 1)`, measured - x, its variance, and its group (an observable on a copy)."""

    line: Array
    target: Array
    variance: Array
    group: NDArray[np.int64]


@dataclass(frozen=True)
class _Posterior:
    """Deviation of (a, b) from (1, 0) of each of K groups, `(K, 2)`, its covariance, and the scatter's variance."""

    line: Array
    covariance: Array
    scatter: float


def _maximize_likelihood(points: _Points, copies: int, outputs: int) -> _Posterior:
    """EM: parameters given the widths of the laws that they are drawn from, then the widths that fit them best.

    The deviation of group k = (copy, observable o) is m + u_o + v_k. Given m and u the v are independent, so that they
    are eliminated first (Schur complement): what is left has 2 + 2 n_out unknowns.
    """
    groups = copies * outputs
    observable = np.arange(groups) % outputs
    # With one copy nothing tells its own part from the observable's.
    widths_u, widths_v = np.full(2, _START_WIDTH**2), np.full(2, _START_WIDTH**2 if copies > 1 else 0.0)
    scatter = float(np.mean(points.variance))
    for _ in range(_ITERATIONS):
        weights = 1 / (points.variance + scatter)
        normal, right = np.zeros((groups, 2, 2)), np.zeros((groups, 2))
        outer = points.line[:, :, None] * points.line[:, None, :]
        np.add.at(normal, points.group, weights[:, None, None] * outer)
        np.add.at(right, points.group, (weights * points.target)[:, None] * points.line)
        # (A + 1 / w)^-1 in a form that holds for w = 0.
        own = np.linalg.solve(np.eye(2) + widths_v[:, None] * normal, np.broadcast_to(np.diag(widths_v), normal.shape))
        rest = np.eye(2) - own @ normal
        shared, shared_covariance = _shared(normal @ rest, np.einsum("kji,kj->ki", rest, right), observable, widths_u)
        base = _of_groups(shared_covariance, observable)
        common = shared[0] + shared[1:][observable]
        v = np.einsum("kij,kj->ki", own, right - np.einsum("kij,kj->ki", normal, common))
        line = common + v
        covariance = own + rest @ base @ rest.transpose(0, 2, 1)

        variances_u = np.diag(shared_covariance).reshape(-1, 2)[1:]
        variances_v = np.einsum("kii->ki", own + (own @ normal) @ base @ (own @ normal).transpose(0, 2, 1))
        learned_u = np.mean(shared[1:] ** 2 + variances_u, axis=0)
        learned_v = np.mean(v**2 + variances_v, axis=0)
        residual = points.target - (points.line * line[points.group]).sum(axis=1)
        spread = np.einsum("ni,nij,nj->n", points.line, covariance[points.group], points.line)
        share = scatter * weights
        learned = float(np.mean(share**2 * (residual**2 + spread) + share * points.variance))
        before = np.sqrt([*widths_u, *widths_v, scatter])
        widths_u, widths_v, scatter = learned_u, learned_v, learned
        if np.abs(np.sqrt([*widths_u, *widths_v, scatter]) - before).max() < _CONVERGED:
            break
    return _Posterior(line, covariance, scatter)


def _shared(normal: Array, right: Array, observable: NDArray[np.int64], widths: Array) -> tuple[Array, Array]:
    """Mean and the observables' own part, `(1 + n_out, 2)`, and their covariance `(2 + 2 n_out, 2 + 2 n_out)`."""
    outputs = int(observable.max()) + 1
    blocks, sums = np.zeros((outputs, 2, 2)), np.zeros((outputs, 2))
    np.add.at(blocks, observable, normal)
    np.add.at(sums, observable, right)
    size = 2 + 2 * outputs
    matrix = np.diag(np.concatenate([np.full(2, 1 / _MEAN_WIDTH**2), np.tile(1 / widths, outputs)]))
    matrix[:2, :2] += blocks.sum(axis=0)
    for number, block in enumerate(blocks):
        place = slice(2 + 2 * number, 4 + 2 * number)
        matrix[place, place] += block
        matrix[:2, place] += block
        matrix[place, :2] += block
    covariance = np.linalg.inv(matrix)
    found = covariance @ np.concatenate([sums.sum(axis=0), sums.reshape(-1)])
    return found.reshape(-1, 2), covariance.reshape(size, size)


def _of_groups(covariance: Array, observable: NDArray[np.int64]) -> Array:
    """Covariance `(K, 2, 2)` of the mean and the observable's part together."""
    outputs = len(covariance) // 2 - 1
    blocks = covariance.reshape(outputs + 1, 2, outputs + 1, 2)
    each = np.arange(1, outputs + 1)
    mean, cross, own = blocks[0, :, 0], blocks[0, :, each, :], blocks[each, :, each, :]
    together: Array = mean + cross + cross.transpose(0, 2, 1) + own
    return together[observable]
