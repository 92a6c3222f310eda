"""From a circuit spec to an ISA circuit: where it sits on the device, what it suffers there, and proof that it fits.

Candidates are the best embeddings of the circuit's two-qubit gates (all are enumerated:
`qhybrid.quantum.devices.embedding`) and the level-3 preset of Qiskit with several seeds, which can also route. Each is
transpiled and scored from the device's calibration: the fidelities of its gates and readout, times what qubits keep
while they wait. The best is kept.
Observables follow the layout, so output i stays observable i.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit, qpy
from qiskit import transpile as qiskit_transpile
from qiskit.providers import BackendV2
from qiskit.transpiler.exceptions import TranspilerError

from hardware.errors import HardwareError
from hardware.placement.program import Program, check_isa, restricted, side_by_side, touched_qubits
from hardware.service.backends import calibration_date, device_name
from qhybrid.errors import CircuitError
from qhybrid.files import DamagedFileError, atomic_path, read_json, write_json
from qhybrid.quantum.circuits.qpy_files import load_circuits
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.devices.embedding import embeddings, estimated_success
from qhybrid.quantum.devices.idling import idle_fidelity
from qhybrid.quantum.devices.snapshots import crop
from qhybrid.stored import from_json

__all__ = ["EMBEDDINGS_TRIED", "PRESET_SEEDS", "Program", "Transpiled", "candidate", "check_isa", "transpile"]

EMBEDDINGS_TRIED = 8
PRESET_SEEDS = 4
# So many times as many places are tried where Qiskit cannot translate the circuit at the best.
_MOST_FAILURES = 8


@dataclass(frozen=True)
class _Stored:
    """What `transpiled.json` holds; see `Transpiled`."""

    spec: str
    layout: tuple[int, ...]
    report: dict[str, Any]
    copies: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Transpiled:
    """A spec on a device.

    Attributes:
        circuit: ISA circuit on all device qubits; parameters as in the spec.
        layout: Device qubit that holds circuit qubit i at the end, where it is measured.
        report: JSON-able: `backend`, `estimated_success`, `idle_fidelity`, `score`, `depth`, `two_qubit_gates`,
            `layout`, `candidates`, and where several copies run side by side a line of each in `patches`.
        spec_hash: Content hash of the spec.
        copies: Placements of the same circuit elsewhere on the device, to run beside this one; see
            `hardware.placement.packing`.
    """

    circuit: QuantumCircuit
    layout: tuple[int, ...]
    report: dict[str, Any]
    spec_hash: str
    copies: tuple[Transpiled, ...] = ()

    @property
    def layouts(self) -> tuple[tuple[int, ...], ...]:
        """The layout of each copy, this one first."""
        return (self.layout, *(copy.layout for copy in self.copies))

    def program(self, spec: CircuitSpec, weights: NDArray[np.float64], backend: BackendV2) -> Program:
        """The circuit with trained weights, for the device itself; all copies in one circuit.

        Args:
            spec: The circuit that was transpiled.
            weights: Trained weights in radians, `(n_weights,)`.
            backend: The device that it was transpiled for.

        Raises:
            HardwareError: `spec` is not the one that was transpiled, or the device does not execute the circuit.
        """
        self._check_spec(spec)
        check_isa(self.circuit, backend)
        alone = self._program(spec, weights, self.circuit, self.layout, backend)
        others = [replace(copy, copies=()).program(spec, weights, backend) for copy in self.copies]
        return side_by_side([alone, *others]) if others else alone

    def local_program(self, spec: CircuitSpec, weights: NDArray[np.float64], backend: BackendV2) -> Program:
        """The program on the part of the device that the circuit uses, for simulation; copies one by one, in `parts`.

        Copies have no coupling in common, so that simulating them apart is the same and takes memory for one.

        Args:
            spec: The circuit that was transpiled.
            weights: Trained weights in radians, `(n_weights,)`.
            backend: The device that it was transpiled for.

        Raises:
            HardwareError: As for `program`.
        """
        self._check_spec(spec)
        check_isa(self.circuit, backend)
        if self.copies:
            parts = [replace(copy, copies=()).local_program(spec, weights, backend) for copy in (self, *self.copies)]
            return replace(self.program(spec, weights, backend), parts=tuple(parts))
        used = self.touched_qubits()
        position = {qubit: index for index, qubit in enumerate(used)}
        small = restricted(self.circuit, used)
        part = backend if backend.coupling_map is None else crop(backend, used)
        check_isa(small, part)
        return self._program(spec, weights, small, [position[qubit] for qubit in self.layout], part)

    def used_qubits(self) -> list[int]:
        """Device qubits of all copies: of each the measured ones in circuit order, then those of the routing."""
        return [qubit for copy in (self, *self.copies) for qubit in copy.touched_qubits()]

    def save(self, folder: Path) -> None:
        """Write `isa.qpy` and `transpiled.json`, each atomically."""
        with atomic_path(folder / "isa.qpy") as temporary, temporary.open("wb") as file:
            qpy.dump([self.circuit, *(copy.circuit for copy in self.copies)], file)
        write_json(
            folder / "transpiled.json",
            {
                "spec": self.spec_hash,
                "layout": list(self.layout),
                "copies": [list(copy.layout) for copy in self.copies],
                "report": self.report,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> Transpiled:
        """Read what `save` wrote.

        Raises:
            RunDirectoryError: A file is missing or not readable.
            HardwareError: `isa.qpy` is not a QPY file of these circuits, or `transpiled.json` is damaged.
        """
        try:
            stored = from_json(_Stored, read_json(folder / "transpiled.json"))
        except DamagedFileError as error:
            raise HardwareError(f"`{folder / 'transpiled.json'}` is damaged ({error}): transpile again") from None
        try:
            circuits = load_circuits(folder / "isa.qpy")
        except CircuitError as error:
            raise HardwareError(f"`{folder}` holds no transpiled circuit: {error}") from None
        layouts = (stored.layout, *stored.copies)
        sound = len(layouts) == len(circuits) and {"backend", "calibrated"} <= stored.report.keys()
        for circuit, layout in zip(circuits, layouts, strict=False):
            sound = sound and len(set(layout)) == len(layout) and set(layout) <= set(range(circuit.num_qubits))
        if not sound:
            raise HardwareError(f"`{folder}`: isa.qpy and transpiled.json do not belong together: transpile again")
        first, *copies = (
            cls(circuit, layout, stored.report, stored.spec) for circuit, layout in zip(circuits, layouts, strict=True)
        )
        return replace(first, copies=tuple(copies))

    def touched_qubits(self) -> list[int]:
        """Device qubits of this copy alone: the measured ones in circuit order, then those of the routing."""
        return [*self.layout, *sorted(touched_qubits(self.circuit) - set(self.layout))]

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
        positions: Sequence[int],
        backend: BackendV2,
    ) -> Program:
        bound = {parameter.name: float(value) for parameter, value in zip(spec.weights, weights, strict=True)}
        present = {parameter.name for parameter in circuit.parameters}
        return Program(
            circuit=circuit.assign_parameters({name: value for name, value in bound.items() if name in present}),
            observables=tuple(item.apply_layout(list(positions), circuit.num_qubits) for item in spec.observables),
            inputs=tuple(parameter.name for parameter in spec.inputs),
            backend=backend,
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
        spec: Circuit and observables to be placed.
        backend: Device, local copy of one, or simulator.
        embeddings_tried: Number of the best embeddings that are transpiled.
        preset_seeds: Candidates of the level-3 preset, seeds 0, 1, ...; at least 1.

    Returns:
        The candidate of highest score (estimated success of gates and readout, times that of waiting); ties go to
        the first.

    Raises:
        HardwareError: The backend is too small, or Qiskit cannot translate the circuit for it.
    """
    try:
        places = embeddings(spec.circuit, backend)
    except CircuitError as error:
        raise HardwareError(f"`{spec.name}` does not fit: {error}") from None
    attempts: list[tuple[str, dict[str, Any]]] = [
        (f"embedding {index + 1} of {len(places)}", {"initial_layout": list(place.qubits), "seed_transpiler": 0})
        for index, place in enumerate(places)
        if backend.coupling_map is not None
    ]
    presets = [(f"preset, seed {seed}", {"seed_transpiler": seed}) for seed in range(preset_seeds)]
    candidates = [
        *_translated(spec, backend, attempts[: _MOST_FAILURES * embeddings_tried], embeddings_tried),
        *_translated(spec, backend, presets, preset_seeds),
    ]
    if not candidates:
        raise HardwareError(
            f"Qiskit's transpiler cannot translate `{spec.name}` for `{backend.name}`, at none of {len(places)} places "
            "and by no routing: take another ansatz or another device"
        )
    circuit, layout, best = max(candidates, key=lambda item: item[2]["score"])
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


def _translated(
    spec: CircuitSpec, backend: BackendV2, attempts: Sequence[tuple[str, dict[str, Any]]], most: int
) -> list[tuple[QuantumCircuit, tuple[int, ...], dict[str, Any]]]:
    """Transpile by each attempt until `most` have succeeded, leaving out those that Qiskit cannot translate.

    On a device whose couplings differ in their gate (`fake_cairo`: 12 with CX, 14 with ECR) its transpiler (2.6) knows
    no way to turn a gate around, and refuses most places and the preset altogether.
    """
    found: list[tuple[QuantumCircuit, tuple[int, ...], dict[str, Any]]] = []
    for method, options in attempts:
        if len(found) == most:
            break
        with contextlib.suppress(TranspilerError):
            found.append(candidate(spec, backend, method, options))
    return found


def candidate(
    spec: CircuitSpec, backend: BackendV2, method: str, options: dict[str, Any]
) -> tuple[QuantumCircuit, tuple[int, ...], dict[str, Any]]:
    """Transpile with the preset of level 3 and score.

    Args:
        spec: Circuit and observables to be placed.
        backend: Device, local copy of one, or simulator.
        method: Name of the way to place it, for the report.
        options: Further options of Qiskit's `transpile`, without the optimization level.

    Returns:
        ISA circuit, layout at the end, and a JSON-able line of a report.

    Raises:
        TranspilerError: Qiskit cannot translate the circuit at this place.
    """
    circuit = qiskit_transpile(spec.circuit, backend, optimization_level=3, **options)
    # Without a coupling map (a simulator) Qiskit sets no layout: every qubit stays where it is.
    placed = circuit.layout.final_index_layout() if circuit.layout is not None else range(spec.num_qubits)
    layout = tuple(int(qubit) for qubit in placed)
    pairs = [item for item in circuit.data if len(item.qubits) == 2]
    success = estimated_success(circuit, backend.target, list(layout))
    kept = idle_fidelity(circuit, backend.target)
    row = {
        "method": method,
        "layout": list(layout),
        "estimated_success": success,
        "idle_fidelity": kept,
        "score": success * kept,
        "depth": int(circuit.depth()),
        "two_qubit_depth": int(circuit.depth(lambda item: len(item.qubits) == 2)),
        "two_qubit_gates": len(pairs),
        "gates": dict(sorted(Counter(item.operation.name for item in circuit.data).items())),
    }
    return circuit, layout, row
