"""From a circuit spec to an ISA circuit: where it sits on the device, what it suffers there, and proof that it fits.

Candidates are the best embeddings of the circuit's two-qubit gates (all are enumerated: `qhybrid.quantum.embedding`)
and the level-3 preset of Qiskit with several seeds, which can also route. Each is transpiled and scored by the
estimated success from the device's calibration; the best is kept. Observables follow the layout, so output i stays
observable i.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit, qpy
from qiskit import transpile as qiskit_transpile
from qiskit.providers import BackendV2
from qiskit.quantum_info import SparsePauliOp

from hardware.backends import calibration_date, device_name
from hardware.errors import HardwareError
from qhybrid.errors import CircuitError
from qhybrid.quantum.devices import crop
from qhybrid.quantum.embedding import embeddings, estimated_success
from qhybrid.quantum.spec import CircuitSpec
from qhybrid.rundir import atomic_path, read_json, write_json

EMBEDDINGS_TRIED = 8
PRESET_SEEDS = 4


@dataclass(frozen=True)
class Program:
    """What a job executes: a bound ISA circuit whose only parameters are the data, and what is read from it.

    Attributes:
        circuit: ISA circuit for `backend`, trained weights bound.
        observables: On the circuit's qubits, one per output.
        inputs: Names of the input parameters, in the order of the columns of the angles.
        backend: Where it runs: the whole device, or the simulated part of one.
    """

    circuit: QuantumCircuit
    observables: tuple[SparsePauliOp, ...]
    inputs: tuple[str, ...]
    backend: BackendV2

    def pub(self, angles: NDArray[np.float64]) -> tuple[Any, ...]:
        """One estimator pub: observables `(n_out, 1)` against `angles` of shape `(B, n_in)` in radians."""
        present = {parameter.name for parameter in self.circuit.parameters}
        columns = [index for index, name in enumerate(self.inputs) if name in present]
        values = {tuple(self.inputs[index] for index in columns): angles[:, columns]}
        return self.circuit, [[observable] for observable in self.observables], values


@dataclass(frozen=True)
class Transpiled:
    """A spec on a device.

    Attributes:
        circuit: ISA circuit on all device qubits; parameters as in the spec.
        layout: Device qubit that holds circuit qubit i at the end, where it is measured.
        report: JSON-able: `backend`, `estimated_success`, `depth`, `two_qubit_gates`, `layout`, `candidates`, ...
        spec_hash: Content hash of the spec.
    """

    circuit: QuantumCircuit
    layout: tuple[int, ...]
    report: dict[str, Any]
    spec_hash: str

    def program(self, spec: CircuitSpec, weights: NDArray[np.float64], backend: BackendV2) -> Program:
        """The circuit with trained weights, for the device itself.

        Raises:
            HardwareError: `spec` is not the one that was transpiled, or the device does not execute the circuit.
        """
        self._check_spec(spec)
        check_isa(self.circuit, backend)
        return self._program(spec, weights, self.circuit, list(self.layout), backend)

    def local_program(self, spec: CircuitSpec, weights: NDArray[np.float64], backend: BackendV2) -> Program:
        """The same on the part of the device that the circuit uses, for simulation.

        Raises:
            HardwareError: As for `program`.
        """
        self._check_spec(spec)
        check_isa(self.circuit, backend)
        if backend.coupling_map is None:
            return self._program(spec, weights, self.circuit, list(self.layout), backend)
        used = self.used_qubits()
        position = {qubit: index for index, qubit in enumerate(used)}
        small = QuantumCircuit(len(used), name=self.circuit.name, global_phase=self.circuit.global_phase)
        for instruction in self.circuit.data:
            qubits = [position[self.circuit.find_bit(q).index] for q in instruction.qubits]
            small.append(instruction.operation, qubits)
        part = crop(backend, used)
        check_isa(small, part)
        return self._program(spec, weights, small, [position[qubit] for qubit in self.layout], part)

    def used_qubits(self) -> list[int]:
        """Device qubits that the circuit acts on: the measured ones in circuit order, then those of the routing."""
        touched = {self.circuit.find_bit(q).index for item in self.circuit.data for q in item.qubits}
        return [*self.layout, *sorted(touched - set(self.layout))]

    def save(self, folder: Path) -> None:
        """Write `isa.qpy` and `transpiled.json`, each atomically."""
        with atomic_path(folder / "isa.qpy") as temporary, temporary.open("wb") as file:
            qpy.dump(self.circuit, file)
        write_json(
            folder / "transpiled.json", {"spec": self.spec_hash, "layout": list(self.layout), "report": self.report}
        )

    @classmethod
    def load(cls, folder: Path) -> Transpiled:
        """Read what `save` wrote.

        Raises:
            RunDirectoryError: A file is missing or not readable.
            HardwareError: `isa.qpy` is not a QPY file.
        """
        stored = read_json(folder / "transpiled.json")
        try:
            with (folder / "isa.qpy").open("rb") as file:
                circuit = qpy.load(file)[0]
        except Exception as error:  # noqa: BLE001  (qpy raises whatever a foreign file makes it trip over)
            raise HardwareError(f"`{folder / 'isa.qpy'}` cannot be read: {' '.join(str(error).split())}") from None
        return cls(circuit, tuple(stored["layout"]), stored["report"], stored["spec"])

    def _check_spec(self, spec: CircuitSpec) -> None:
        if spec.content_hash() != self.spec_hash:
            raise HardwareError(
                f"the checkpoint holds another circuit (`{spec.name}`, {spec.num_qubits} qubits) than the one that was "
                f"transpiled for `{self.report['backend']}`: transpile again, without --resume"
            )

    def _program(
        self,
        spec: CircuitSpec,
        weights: NDArray[np.float64],
        circuit: QuantumCircuit,
        positions: list[int],
        backend: BackendV2,
    ) -> Program:
        bound = {parameter.name: float(value) for parameter, value in zip(spec.weights, weights, strict=True)}
        present = {parameter.name for parameter in circuit.parameters}
        return Program(
            circuit=circuit.assign_parameters({name: value for name, value in bound.items() if name in present}),
            observables=tuple(item.apply_layout(positions, circuit.num_qubits) for item in spec.observables),
            inputs=tuple(parameter.name for parameter in spec.inputs),
            backend=backend,
        )


def check_isa(circuit: QuantumCircuit, backend: BackendV2) -> None:
    """Refuse a circuit that the backend does not execute as it is; Runtime's new Estimator does not check.

    Raises:
        HardwareError: Says which instruction, on which qubits, is not in the backend's instruction set.
    """
    from qiskit_ibm_runtime.utils.utils import is_isa_circuit

    reason = is_isa_circuit(circuit, backend.target)
    if reason:
        raise HardwareError(
            f"the circuit is not an ISA circuit of `{backend.name}`: {' '.join(reason.split())} Transpile it for this "
            "backend with `hardware.transpile`"
        )


def transpile(
    spec: CircuitSpec,
    backend: BackendV2,
    *,
    embeddings_tried: int = EMBEDDINGS_TRIED,
    preset_seeds: int = PRESET_SEEDS,
) -> Transpiled:
    """Place and translate a spec for a backend.

    Args:
        spec: The circuit.
        backend: Device, local copy of one, or simulator.
        embeddings_tried: So many of the best embeddings are transpiled.
        preset_seeds: Candidates of the level-3 preset, seeds 0, 1, ...; at least 1.

    Returns:
        The candidate of highest estimated success; ties go to the first.

    Raises:
        HardwareError: The backend is too small.
    """
    try:
        places = embeddings(spec.circuit, backend)
    except CircuitError as error:
        raise HardwareError(f"`{spec.name}` does not fit: {error}") from None
    attempts: list[tuple[str, dict[str, Any]]] = [
        (f"embedding {index + 1} of {len(places)}", {"initial_layout": list(place.qubits), "seed_transpiler": 0})
        for index, place in enumerate(places[:embeddings_tried])
        if backend.coupling_map is not None
    ]
    attempts += [(f"preset, seed {seed}", {"seed_transpiler": seed}) for seed in range(preset_seeds)]
    candidates = [_candidate(spec, backend, method, options) for method, options in attempts]
    circuit, layout, best = max(candidates, key=lambda item: item[2]["estimated_success"])
    check_isa(circuit, backend)
    report = {
        "backend": str(backend.name),
        "device": device_name(backend),
        "calibrated": calibration_date(backend),
        "circuit": spec.name,
        "qubits": spec.num_qubits,
        **best,
        "candidates": [row for _, _, row in candidates],
    }
    return Transpiled(circuit, layout, report, spec.content_hash())


def _candidate(
    spec: CircuitSpec, backend: BackendV2, method: str, options: dict[str, Any]
) -> tuple[QuantumCircuit, tuple[int, ...], dict[str, Any]]:
    circuit = qiskit_transpile(spec.circuit, backend, optimization_level=3, **options)
    # Without a coupling map (a simulator) Qiskit sets no layout: every qubit stays where it is.
    placed = circuit.layout.final_index_layout() if circuit.layout is not None else range(spec.num_qubits)
    layout = tuple(int(qubit) for qubit in placed)
    pairs = [item for item in circuit.data if len(item.qubits) == 2]
    row = {
        "method": method,
        "layout": list(layout),
        "estimated_success": estimated_success(circuit, backend.target, list(layout)),
        "depth": int(circuit.depth()),
        "two_qubit_depth": int(circuit.depth(lambda item: len(item.qubits) == 2)),
        "two_qubit_gates": len(pairs),
        "gates": dict(sorted(Counter(item.operation.name for item in circuit.data).items())),
    }
    return circuit, layout, row
