"""Exact expectation values of a trained circuit: the reference, and what the steps off the device use."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.estimators.compiled import CompiledEstimator


class ExactEvaluator:
    """`angles (B, n_in) -> expectation values (B, n_out)` without noise and without shots.

    Args:
        spec: Circuit and observables to be evaluated.
        weights: Trained weights `(n_weights,)` in radians, in the order of `spec.weights`.
    """

    def __init__(self, spec: CircuitSpec, weights: NDArray[np.float64]) -> None:
        self._spec = spec
        self._weights = np.asarray(weights, dtype=np.float64)
        self._estimator = CompiledEstimator(double=True)

    def values(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Expectation values `(B, n_out)` of angles `(B, n_in)` in radians."""
        weights = np.broadcast_to(self._weights, (len(angles), len(self._weights)))
        bindings = {
            tuple(parameter.name for parameter in (*self._spec.inputs, *self._spec.weights)): np.concatenate(
                [angles, weights], axis=1
            )
        }
        observables = [[observable] for observable in self._spec.observables]
        result = self._estimator.run([(self._spec.circuit, observables, bindings)]).result()
        return np.asarray(result[0].data.evs, dtype=np.float64).T

    def __call__(self, angles: Tensor) -> Tensor:
        """Expectation values of tensors of angles, computed in float64 without gradient."""
        values = self.values(angles.detach().cpu().double().numpy())
        return torch.from_numpy(values).to(angles.dtype)
