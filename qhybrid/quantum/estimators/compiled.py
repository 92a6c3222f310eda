"""Expectation values as a Qiskit primitive: exact, under noise, or from finite shots."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import PrimitiveJob
from qiskit.primitives.containers import DataBin, EstimatorPubLike, PrimitiveResult, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.providers import BackendV2
from qiskit.quantum_info import SparsePauliOp

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.fingerprint import circuit_fingerprint
from qhybrid.quantum.devices.native import laid_out, on_device, place, require_width
from qhybrid.quantum.engine.compiler.angles import Features
from qhybrid.quantum.engine.compiler.lowering import lower
from qhybrid.quantum.engine.compiler.paulis import Pauli, collect, pauli_terms
from qhybrid.quantum.engine.density.circuit import DensityCircuit
from qhybrid.quantum.engine.statevector.circuit import CompiledCircuit, Engine
from qhybrid.quantum.estimators.base import SimulatingEstimator
from qhybrid.quantum.estimators.distributions import Distribution, ExactDistribution, NoisyDistribution, settings_of
from qhybrid.quantum.estimators.pubs import as_pauli_sum, shots_of, submitted
from qhybrid.quantum.estimators.shots import AngleMap, Gradient, SampledCircuit
from qhybrid.quantum.noise.gate_noise import GateNoise, noisy_ops
from qhybrid.quantum.noise.measurement import Measurement
from qhybrid.quantum.noise.readout import readout_factors

_CACHE_SIZE = 32

Compiled = CompiledCircuit | DensityCircuit | SampledCircuit
"""What `compile` returns: a circuit with `expectations`, `forward` and `vjp`."""


class CompiledEstimator(SimulatingEstimator):
    """Estimator that compiles each circuit once and evaluates whole batches.

    Takes the pubs that any Qiskit estimator takes. Without shots, results are exact, under noise too, so they meet
    whatever precision a pub asks for, and standard errors are 0. `QuantumLayer` recognizes this class and
    differentiates through `compile(...)` directly.

    Noise is that of an Aer `NoiseModel`, whose channels act on the density matrix, or of a device, which circuits are
    transpiled for. Circuits with a noise model are followed in the gates that they are written in; gates that the
    model does not name run without noise and are reported once (`noise_model.NoiselessGateWarning`). Strings other
    than Z are measured after a change of basis that is as noisy as the model's gates. At most 8 qubits under noise.
    """

    def __init__(
        self,
        noise_model: Any = None,
        *,
        device: BackendV2 | None = None,
        readout_error: bool = True,
        shots: int | None = None,
        seed: int | None = None,
        gradient: Gradient = "exact",
        double: bool = False,
        threads: int | None = None,
        engine: Engine = "auto",
    ) -> None:
        """Set up the simulator with a noise model or a device, exact or with shots.

        Args:
            noise_model: An Aer `NoiseModel` over the circuits' qubit numbers.
            device: A (cropped) device in place of a noise model: circuits are transpiled for it, qubit i on device
                qubit i, and get its noise.
            readout_error: Whether the noise's readout error takes part.
            shots: Samples of each measurement setting; by default none, results are exact. A pub that asks for a
                precision p gets 1/p^2 shots.
            seed: Seed of the sampling; equal seeds and parameter values give equal samples. By default drawn anew.
            gradient: Kind of gradient with shots: `exact` differentiates the expectation values that are sampled
                (straight through), `parameter_shift` samples shifted circuits, as on a device.
            double: Whether to compute in complex128 instead of complex64 (about 1e-6 against 1e-15 error, half the
                speed).
            threads: Largest number of threads; by default one per core that the process may use. Results do not depend
                on it.
            engine: `auto` computes exact values and gradients by compiled kernels, and by PyTorch for a layer on a CUDA
                device; `torch` by PyTorch everywhere. Under noise and with shots it is always the kernels.

        Raises:
            CircuitError: Both a noise model and a device, shots below 1, an unknown gradient or engine, or a noise
                model that cannot be followed.
        """
        super().__init__(noise_model, device, shots, seed)
        if gradient not in ("exact", "parameter_shift"):
            raise CircuitError(f"gradient `{gradient}` is unknown: exact or parameter_shift")
        if engine not in ("auto", "torch"):
            raise CircuitError(f"engine `{engine}` is unknown: auto or torch")
        self.readout_error = readout_error
        self.gradient: Gradient = gradient
        self.double = double
        self.threads = threads
        self.engine: Engine = engine
        ideal = self._noise_model is None or self._noise_model.is_ideal()
        self._noise = None if ideal else GateNoise(self._noise_model, labels=device is None)
        self._compiled: dict[Any, Compiled] = {}

    def in_double_precision(self) -> CompiledEstimator:
        """An estimator of the same settings and noise that computes with complex128."""
        twin = copy.copy(self)
        twin.double = True
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Everything but compiled circuits, which hold threads' memory; they are compiled again when asked for."""
        return {**self.__dict__, "_compiled": {}}

    def compile(
        self,
        circuit: QuantumCircuit,
        observables: Sequence[SparsePauliOp],
        parameters: Sequence[Parameter],
        *,
        precision: float | None = None,
    ) -> Compiled:
        """The circuit ready for `expectations`, `forward` and `vjp`.

        Args:
            circuit: Unitary circuit; an ISA circuit's idle qubits cost nothing.
            observables: Observables over the circuit's qubits, one output column each; one over the fewer qubits of the
                circuit before transpilation follows the circuit's layout.
            parameters: The circuit's parameters in the order of the value columns.
            precision: Precision of the results, as of a pub; by default the estimator's own.

        Raises:
            CircuitError: The circuit cannot be simulated, or an observable acts on another number of qubits.
        """
        terms = [pauli_terms(laid_out(as_pauli_sum(observable), circuit)) for observable in observables]
        return self._compile(circuit, terms, parameters, self._shots_for(precision))

    def run(
        self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None
    ) -> PrimitiveJob[PrimitiveResult[PubResult]]:
        """Evaluate pubs `(circuit, observables, values, precision)`; shapes broadcast as in Qiskit.

        Args:
            pubs: Pubs to be evaluated.
            precision: Precision of pubs that state none; by default the estimator's own. Shots follow the precision of
                a pub, 1 / precision^2, and 0 asks for exact values; an estimator without shots is exact whatever is
                asked.

        Raises:
            TypeError: A pub or a precision of a wrong type, as Qiskit raises it.
            ValueError: Shapes, parameters or observables that do not fit a circuit, as Qiskit raises it.
        """
        wanted = self.default_precision if precision is None else precision
        return submitted(self._run, [EstimatorPub.coerce(pub, wanted) for pub in pubs])

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
        given = pub.parameter_values.as_array(parameters) if len(parameters) else np.zeros((*shape, 0))
        values = given.reshape(math.prod(shape), len(parameters))
        metadata = {"target_precision": pub.precision, "circuit_metadata": pub.circuit.metadata}
        shots = self._shots_for(pub.precision)
        if isinstance(compiled, SampledCircuit):
            metadata["shots"] = shots
            if shots is None:
                compiled = compiled.exact
        if isinstance(compiled, SampledCircuit):
            table, errors = compiled.sample(values, shots)
        else:
            table = compiled.expectations(values)
            errors = np.zeros_like(table)
        rows, columns = np.broadcast_arrays(np.arange(len(table)).reshape(shape), column)
        evs, stds = np.asarray(table[rows, columns]), np.asarray(errors[rows, columns])
        return PubResult(DataBin(evs=evs, stds=stds, shape=evs.shape), metadata=metadata)

    def _cached(self, circuit: QuantumCircuit, observables: tuple[Any, ...]) -> Compiled:
        # Settings may be changed between runs, so what was compiled with others is no answer.
        settings = (self.shots, self.seed, self.gradient, self.double, self.threads, self.engine, self.readout_error)
        key = (circuit_fingerprint(circuit), observables, settings)
        if key not in self._compiled:
            while len(self._compiled) >= _CACHE_SIZE:
                self._compiled.pop(next(iter(self._compiled)), None)
            for items in observables:
                for label, _ in items:
                    require_width(len(label), circuit)
            terms = [pauli_terms(dict(items)) for items in observables]
            self._compiled[key] = self._compile(circuit, terms, list(circuit.parameters), self.shots)
        return self._compiled[key]

    def _shots_for(self, precision: float | None) -> int | None:
        """Shots of a pub of some precision; `None` for exact values."""
        if self.shots is None or precision == 0:
            return None
        return self.shots if precision is None else shots_of(precision)

    def _compile(
        self,
        circuit: QuantumCircuit,
        terms: list[dict[Pauli, float]],
        parameters: Sequence[Parameter],
        shots: int | None,
    ) -> Compiled:
        if self._device is not None:
            circuit, places = on_device(circuit, self._device)
            terms = [{place(pauli, places): value for pauli, value in item.items()} for item in terms]
        features = Features(parameters)
        exact: CompiledCircuit | DensityCircuit
        distribution: Distribution
        observables = collect(terms)
        settings = settings_of(observables)
        if self._noise is None:
            exact = CompiledCircuit(
                circuit, observables, parameters, double=self.double, threads=self.threads, engine=self.engine
            )
            if shots is None:
                return exact
            gates = lower(circuit, features)
            distribution, angle_map = ExactDistribution(gates, settings), AngleMap(gates, features)
        else:
            ops = noisy_ops(circuit, features, self._noise)
            readout = readout_factors(self._noise_model, circuit.num_qubits) if self.readout_error else {}
            measurement = Measurement(circuit.num_qubits, self._noise, readout)
            folded = collect([measurement.fold(item) for item in terms])
            exact = DensityCircuit(ops, features, folded, double=self.double, threads=self.threads)
            if shots is None:
                return exact
            distribution = NoisyDistribution(ops, settings, measurement, double=self.double, threads=self.threads)
            angle_map = AngleMap(ops, features)
        return SampledCircuit(
            exact,
            distribution,
            settings,
            observables,
            angle_map,
            shots=shots,
            seed=self.seed,
            gradient=self.gradient,
        )
