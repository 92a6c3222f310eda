"""Aer as an estimator for training: noise and readout error included, one job per `run`.

What stock Aer estimators get wrong for this purpose: they leave readout error out, send a job per pub, and run a gate
that the noise model does not name without noise and without a word. Here a circuit is first brought into the basis
of the noise model (or transpiled for the device that the noise is taken from).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from qiskit import QuantumCircuit
from qiskit.primitives import PrimitiveJob
from qiskit.primitives.containers import EstimatorPubLike, PrimitiveResult, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.providers import BackendV2
from qiskit_aer import AerSimulator

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.fingerprint import circuit_fingerprint
from qhybrid.quantum.devices.native import on_device
from qhybrid.quantum.engine.compiler.angle_expansion import expand
from qhybrid.quantum.engine.compiler.angles import Features
from qhybrid.quantum.estimators.aer_circuits import AerGates
from qhybrid.quantum.estimators.aer_pub import PreparedCircuit, PubTask
from qhybrid.quantum.estimators.base import SimulatingEstimator
from qhybrid.quantum.estimators.pubs import shots_of, submitted
from qhybrid.quantum.noise.aer_model import without_readout
from qhybrid.quantum.noise.readout import readout_factors
from qhybrid.seeds import plain_generator, value_digest

_CACHE_SIZE = 32
_MAX_DENSITY_QUBITS = 12


class AerEstimator(SimulatingEstimator):
    """Expectation values from Aer: exact (statevector, or density matrix under noise) or sampled.

    Observables other than Z are measured after a change of basis that is made of, and as noisy as, the device's gates.
    Sampling is seeded by `seed` and the parameter values, so equal calls give equal numbers and a resumed training
    sees the same shots as an uninterrupted one.
    """

    def __init__(
        self,
        noise_model: Any = None,
        *,
        device: BackendV2 | None = None,
        readout_error: bool = True,
        shots: int | None = None,
        seed: int | None = None,
    ) -> None:
        """Set up Aer with a noise model or a device.

        Args:
            noise_model: An Aer `NoiseModel` over the circuit's qubit numbers.
            device: A (cropped) device in place of a noise model: circuits are transpiled for it, qubit i on device
                qubit i, and get its noise.
            readout_error: Whether the noise's readout error takes part.
            shots: Samples per expectation value; by default exact, unless a pub asks for a precision p: 1/p^2 shots.
                Beyond 12 qubits under noise each shot is a trajectory of a state vector.
            seed: Seed of the sampling; `None` draws anew each time.

        Raises:
            CircuitError: Both a noise model and a device are given, or shots below 1.
        """
        super().__init__(noise_model, device, shots, seed)
        if self._noise_model is not None and not readout_error:
            self._noise_model = without_readout(self._noise_model)
        self._method = "statevector" if self._noise_model is None else "density_matrix"
        self._open()
        # A device's model names gates only, so there no label has errors of its own.
        runnable = AerSimulator(method=self._method).configuration().basis_gates
        self._gates = AerGates(self._noise_model, runnable, labels=device is None)

    def run(
        self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None
    ) -> PrimitiveJob[PrimitiveResult[PubResult]]:
        """Evaluate pubs in one Aer job; shapes broadcast as in Qiskit.

        Args:
            pubs: Pubs to be evaluated.
            precision: Precision of pubs that state none; by default the estimator's own. Shots are 1 / precision^2, and
                0 asks for exact values. The finest precision of a call holds for all of its pubs.

        Raises:
            TypeError: A pub or a precision of a wrong type, as Qiskit raises it.
            ValueError: Shapes, parameters or observables that do not fit a circuit, as Qiskit raises it.
        """
        wanted = self.default_precision if precision is None else precision
        return submitted(self._run, [EstimatorPub.coerce(pub, wanted) for pub in pubs])

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the simulator and prepared circuits, which are made again."""
        return {key: value for key, value in self.__dict__.items() if key not in ("_backend", "_prepared")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a copy and make its simulator."""
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        self._prepared: dict[Any, PreparedCircuit] = {}
        self._backend = AerSimulator(
            method=self._method, noise_model=self._noise_model, runtime_parameter_bind_enable=True
        )

    def _run(self, pubs: Sequence[EstimatorPub]) -> PrimitiveResult[PubResult]:
        exact = any(not pub.precision for pub in pubs)
        shots = None if exact or not pubs else shots_of(min(pub.precision for pub in pubs))
        tasks = [PubTask(pub, self._prepare(pub.circuit), self._factors(pub, shots)) for pub in pubs]
        circuits = [circuit for task in tasks for circuit in task.circuits(shots)]
        binds = [bind for task in tasks for bind in task.binds()]
        options = self._run_options(tasks, shots)
        result = self._backend.run(circuits, parameter_binds=binds, **options).result() if circuits else None
        if result is not None and not result.success:
            raise CircuitError(f"Aer could not run the circuits: {result.status}")
        answers, first = [], 0
        for task in tasks:
            answers.append(task.collect(result, first, shots))
            first += task.num_experiments
        return PrimitiveResult(answers, metadata={"version": 2, "shots": shots})

    def _run_options(self, tasks: Sequence[PubTask], shots: int | None) -> dict[str, Any]:
        width = max((task.width for task in tasks), default=0)
        large = self._noise_model is not None and width > _MAX_DENSITY_QUBITS
        if shots is None:
            if large:
                raise CircuitError(
                    f"{width} qubits under noise: the density matrix is followed up to {_MAX_DENSITY_QUBITS} qubits; "
                    "use fewer qubits, or `shots`, which follow trajectories of the state vector"
                )
            return {}
        options = {"shots": shots, "seed_simulator": self._draw_seed(tasks)}
        # One trajectory per shot: memory of a state vector instead of a density matrix.
        return {**options, "method": "statevector"} if large else options

    def _factors(self, pub: EstimatorPub, shots: int | None) -> dict[int, tuple[float, float]]:
        if self._noise_model is None or shots is not None:
            return {}
        return readout_factors(self._noise_model, self._device.num_qubits if self._device else pub.circuit.num_qubits)

    def _draw_seed(self, tasks: Sequence[PubTask]) -> int:
        if self.seed is None:
            return int(plain_generator(None).integers(2**31))
        digest = value_digest(repr(self.seed), *(task.values for task in tasks))
        return int.from_bytes(digest[:4], "little") >> 1

    def _prepare(self, circuit: QuantumCircuit) -> PreparedCircuit:
        key = circuit_fingerprint(circuit)
        if key not in self._prepared:
            while len(self._prepared) >= _CACHE_SIZE:
                self._prepared.pop(next(iter(self._prepared)), None)
            self._prepared[key] = self._make_prepared(circuit)
        return self._prepared[key]

    def _make_prepared(self, circuit: QuantumCircuit) -> PreparedCircuit:
        places = list(range(circuit.num_qubits))
        if circuit.layout is not None:
            native = circuit
        elif self._device is not None:
            native, places = on_device(circuit, self._device)
        else:
            native = self._gates.native(circuit)
        expansion = expand(native, Features(list(circuit.parameters)))
        bindable = replace(expansion, circuit=self._gates.bindable(expansion.circuit))
        return PreparedCircuit(bindable, places, self._gates.basis)
