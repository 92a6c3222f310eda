"""Gate angles as functions of the circuit's parameters.

A gate's angle is `offset + sum_k coefficient_k * feature_k`. Features are the parameters themselves; an expression
that is not linear (`a * b`, `sin(a)`) becomes a feature of its own. So whatever evaluates gates needs linear algebra
only, and the chain rule through the expressions is done once, here, for the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Parameter, ParameterExpression

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.fingerprint import expression_key

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Angle:
    """An affine function `offset + sum(coefficient * feature)` in radians.

    Attributes:
        terms: Pairs of a column of the features and its coefficient.
        offset: Constant part in radians.
    """

    terms: tuple[tuple[int, float], ...]
    offset: float = 0.0

    def scaled(self, factor: float) -> Angle:
        """The angle times a number."""
        return Angle(tuple((k, factor * c) for k, c in self.terms), factor * self.offset)


class Features:
    """The columns that angles are linear in: parameters first, then nonlinear expressions as they are met."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = tuple(parameters)
        self._columns = {parameter: index for index, parameter in enumerate(self.parameters)}
        self._expressions: dict[tuple[Any, ...], _Nonlinear] = {}

    def __len__(self) -> int:
        return len(self.parameters) + len(self._expressions)

    @property
    def linear(self) -> bool:
        """Whether the parameters are all the features there are."""
        return not self._expressions

    def angle(self, value: Any) -> Angle:
        """The angle that a gate's parameter (number or expression) stands for.

        Raises:
            CircuitError: The expression is complex or holds a parameter that is not among `parameters`.
        """
        if isinstance(value, Parameter) and value in self._columns:
            return Angle(((self._columns[value], 1.0),))
        if not isinstance(value, ParameterExpression):
            return Angle((), _real(value, value))
        foreign = [p.name for p in value.parameters if p not in self._columns]
        if foreign:
            raise CircuitError(f"angle `{value}` holds parameters without values: {foreign}")
        present = sorted(value.parameters, key=self._columns.__getitem__)
        try:
            slopes = [(p, value.gradient(p)) for p in present]
        except RuntimeError as error:
            raise CircuitError(f"angle `{value}` cannot be differentiated: {error}") from None
        if any(isinstance(slope, ParameterExpression) and slope.parameters for _, slope in slopes):
            return Angle(((self._feature(value, present), 1.0),))
        origin = value.bind(dict.fromkeys(present, 0.0)) if present else value
        return Angle(
            tuple((self._columns[p], _real(slope, value)) for p, slope in slopes),
            _real(origin.numeric(), value),
        )

    def values(self, values: Array) -> Array:
        """Feature columns (B, F) from parameter values (B, P)."""
        if not self._expressions:
            return values
        columns = [expression.evaluate(values) for expression in self._expressions.values()]
        return np.concatenate([values, np.stack(columns, axis=1)], axis=1)

    def pull_back(self, values: Array, gradient: Array) -> Array:
        """Gradient with respect to parameters (B, P) from that with respect to features (B, F)."""
        if not self._expressions:
            return gradient
        count = len(self.parameters)
        result = gradient[:, :count].copy()
        for index, expression in enumerate(self._expressions.values()):
            for column, slope in expression.slopes(values):
                result[:, column] += gradient[:, count + index] * slope
        return result

    def parameters_of(self, angle: Angle) -> frozenset[int]:
        """Columns of the parameters that an angle depends on."""
        count = len(self.parameters)
        nonlinear = list(self._expressions.values())
        found: set[int] = set()
        for feature, coefficient in angle.terms:
            if coefficient:
                found.update([feature] if feature < count else nonlinear[feature - count].columns)
        return frozenset(found)

    def _feature(self, value: ParameterExpression, present: list[Parameter]) -> int:
        key = expression_key(value)
        if key not in self._expressions:
            columns = [self._columns[p] for p in present]
            self._expressions[key] = _Nonlinear(columns, *_vectorized(value, present))
        return len(self.parameters) + list(self._expressions).index(key)


@dataclass(frozen=True)
class _Nonlinear:
    columns: list[int]
    function: Callable[..., Any]
    derivatives: list[Callable[..., Any]]

    def evaluate(self, values: Array) -> Array:
        return self._call(self.function, values)

    def slopes(self, values: Array) -> list[tuple[int, Array]]:
        return [(c, self._call(f, values)) for c, f in zip(self.columns, self.derivatives, strict=True)]

    def _call(self, function: Callable[..., Any], values: Array) -> Array:
        result = np.asarray(function(*(values[:, c] for c in self.columns)), dtype=np.float64)
        return np.broadcast_to(result, values.shape[:1])


def joined(inputs: Array, weights: Array) -> Array:
    """Values of all parameters (B, P) from inputs (B, n_in) and weights (n_weights,) that all samples share."""
    values = np.empty((len(inputs), inputs.shape[1] + len(weights)))
    values[:, : inputs.shape[1]] = inputs
    values[:, inputs.shape[1] :] = weights
    return values


def _vectorized(
    value: ParameterExpression, present: list[Parameter]
) -> tuple[Callable[..., Any], list[Callable[..., Any]]]:
    """Numpy functions of the parameters' columns: the expression and its partial derivatives."""
    import sympy

    # Derivatives come from sympy: sympify() of Qiskit's own gradient() can name another parameter (qiskit 2.6).
    # Real symbols, or abs() and conjugate() would have no derivative.
    symbols = [sympy.Symbol(f"p{index}", real=True) for index in range(len(present))]
    expression = value.sympify().subs(dict(zip((p.sympify() for p in present), symbols, strict=True)))

    def compiled(formula: Any) -> Callable[..., Any]:
        function: Callable[..., Any] = sympy.lambdify(symbols, formula, modules="numpy", dummify=True)
        return function

    return compiled(expression), [compiled(sympy.diff(expression, symbol)) for symbol in symbols]


def _real(value: Any, expression: Any) -> float:
    number = complex(value)
    if abs(number.imag) > 1e-12:
        raise CircuitError(f"angle `{expression}` is complex; rotations need real angles")
    return number.real
