"""Exact expectation values as a Qiskit primitive."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import PrimitiveJob
from qiskit.primitives.base import BaseEstimatorV2
from qiskit.primitives.containers import DataBin, EstimatorPubLike, PrimitiveResult, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import SparsePauliOp

from qhybrid.quantum.compiled import CompiledCircuit
from qhybrid.quantum.heisenberg import collect, pauli_terms
from qhybrid.quantum.spec import circuit_fingerprint

_CACHE_SIZE = 32


class CompiledEstimator(BaseEstimatorV2):  # type: ignore[misc]  # qiskit is untyped
    """Estimator that compiles each circuit once and evaluates whole batches exactly.

    Takes the pubs that any Qiskit estimator takes. Results are exact, so they meet whatever precision a pub asks for;
    standard errors are 0. `QuantumLayer` recognizes this class and differentiates through `compile(...)` directly.
    """

    def __init__(self, *, double: bool = False, threads: int | None = None) -> None:
        """
        Args:
            double: complex128 instead of complex64 (about 1e-6 against 1e-15 error, half the speed).
            threads: At most so many threads; by default one per core that the process may use. Results do not depend
                on it.
        """
        self.double = double
        self.threads = threads
        self._compiled: dict[Any, CompiledCircuit] = {}

    @property
    def default_precision(self) -> float:
        """0: results are exact."""
        return 0.0

    def compile(
        self,
        circuit: QuantumCircuit,
        observables: Sequence[SparsePauliOp],
        parameters: Sequence[Parameter],
    ) -> CompiledCircuit:
        """The circuit ready for `expectations` and `vjp`.

        Args:
            circuit: Unitary circuit.
            observables: One output column each.
            parameters: The circuit's parameters in the order of the value columns.

        Raises:
            CircuitError: The circuit cannot be simulated exactly.
        """
        terms = [pauli_terms(observable) for observable in observables]
        return CompiledCircuit(circuit, collect(terms), parameters, double=self.double, threads=self.threads)

    def run(
        self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None
    ) -> PrimitiveJob[PrimitiveResult[PubResult]]:
        """Evaluate pubs `(circuit, observables, values, precision)`; shapes broadcast as in Qiskit."""
        coerced = [EstimatorPub.coerce(pub, precision) for pub in pubs]
        job = PrimitiveJob(self._run, coerced)
        job._submit()
        return job

    def _run(self, pubs: Sequence[EstimatorPub]) -> PrimitiveResult[PubResult]:
        return PrimitiveResult([self._run_pub(pub) for pub in pubs], metadata={"version": 2})

    def _run_pub(self, pub: EstimatorPub) -> PubResult:
        distinct: dict[Any, int] = {}
        column = np.empty(pub.observables.shape, dtype=np.int64)
        for index in np.ndindex(pub.observables.shape):
            key = tuple(sorted(pub.observables[index].items()))
            column[index] = distinct.setdefault(key, len(distinct))
        compiled = self._cached(pub.circuit, tuple(distinct))
        parameters = pub.circuit.parameters
        shape = pub.parameter_values.shape
        values = pub.parameter_values.as_array(parameters) if len(parameters) else np.zeros((*shape, 0))
        table = compiled.expectations(values.reshape(math.prod(shape), len(parameters)))
        rows, columns = np.broadcast_arrays(np.arange(len(table)).reshape(shape), column)
        evs = np.asarray(table[rows, columns])
        return PubResult(
            DataBin(evs=evs, stds=np.zeros_like(evs), shape=evs.shape),
            metadata={"target_precision": pub.precision, "circuit_metadata": pub.circuit.metadata},
        )

    def _cached(self, circuit: QuantumCircuit, observables: tuple[Any, ...]) -> CompiledCircuit:
        key = (circuit_fingerprint(circuit), observables)
        if key not in self._compiled:
            while len(self._compiled) >= _CACHE_SIZE:
                self._compiled.pop(next(iter(self._compiled)), None)
            terms = [pauli_terms(dict(items)) for items in observables]
            self._compiled[key] = CompiledCircuit(
                circuit, collect(terms), list(circuit.parameters), double=self.double, threads=self.threads
            )
        return self._compiled[key]
