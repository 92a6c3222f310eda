"""Copies of a circuit side by side on one device, each with another image's parameters: k times fewer executions.

A small circuit uses a few percent of a device. Its copies go to disjoint embeddings, best estimated success first, with
qubits left free between them, since a neighbour's gates disturb (crosstalk). How many pay off is a trade: every further
copy is a worse place. `auto` takes the places down to a floor on the success, and of those only as many as save a
further repetition.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import rustworkx
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.providers import BackendV2
from qiskit.transpiler.exceptions import TranspilerError

from hardware.errors import HardwareError
from hardware.placement.transpilation import Transpiled, candidate
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.devices.embedding import Embedding, embeddings


def pack(
    transpiled: Transpiled,
    spec: CircuitSpec,
    backend: BackendV2,
    *,
    images: int,
    copies: Literal["auto"] | int,
    floor: float,
    spacing: int,
) -> Transpiled:
    """Add copies of a transpiled circuit.

    Args:
        transpiled: Result of `transpile`; it stays the first copy.
        spec: Spec of the circuit that was transpiled.
        backend: Backend that the circuit was transpiled for.
        images: Images to be shared out; more copies than images are of no use.
        copies: Number of copies in all, or `auto`: as many as the floor allows, and no more than shorten the run. A
            simulator without couplings gains nothing and gets one.
        floor: Lowest estimated success of a copy that `auto` accepts, relative to the first one's, 0 to 1.
        spacing: Qubits of two copies lie more than so many couplings apart; 0 for neighbours.

    Returns:
        Transpiled circuit with its copies, and a line for each copy in `report["patches"]`.

    Raises:
        HardwareError: The device has no room for so many copies.
    """
    wanted = images if copies == "auto" else min(copies, images)
    if wanted == 1 or (backend.coupling_map is None and copies == "auto"):
        return _with_lines(transpiled, [])
    if backend.coupling_map is None:
        return _side_by_side_anywhere(transpiled, spec, backend, wanted)
    least = floor * float(transpiled.report["estimated_success"]) if copies == "auto" else 0.0
    others: list[tuple[Transpiled, dict[str, Any]]] = []
    for place in disjoint_places(spec.circuit, backend, spacing, around=transpiled.used_qubits()):
        if len(others) + 1 == wanted or place.success < least:
            break
        options = {"initial_layout": list(place.qubits), "seed_transpiler": 0}
        # Qiskit cannot translate a circuit at every place of a device whose couplings differ in their gate.
        with contextlib.suppress(TranspilerError):
            circuit, layout, line = candidate(spec, backend, f"copy {len(others) + 1}", options)
            others.append((replace(transpiled, circuit=circuit, layout=layout, copies=()), line))
    if copies == "auto":
        repetitions = math.ceil(images / (len(others) + 1))
        others = others[: math.ceil(images / repetitions) - 1]
    elif len(others) + 1 < wanted:
        raise HardwareError(
            f"pack {copies}: `{backend.name}` has room for {len(others) + 1} copies of `{spec.name}` "
            f"({spec.num_qubits} qubits) without routing at pack_spacing {spacing}: take fewer, or --pack auto"
        )
    return _with_lines(transpiled, others)


def patch_lines(transpiled: Transpiled, backend: BackendV2) -> list[dict[str, Any]]:
    """The report's lines of all copies, with the readout of each from the calibration.

    Returns:
        One mapping for each copy with `patch`, `layout`, `estimated_success`, `idle_fidelity`, `score`,
        `two_qubit_gates` and `readout_errors`, one per qubit.
    """
    readout = backend.target.get("measure", None) or {}

    def error(qubit: int) -> float | None:
        known = readout.get((qubit,))
        return None if known is None or known.error is None else float(known.error)

    return [
        {**line, "readout_errors": [error(int(qubit)) for qubit in line["layout"]]}
        for line in transpiled.report["patches"]
    ]


_LINE = ("layout", "estimated_success", "idle_fidelity", "score", "two_qubit_gates")


def _with_lines(transpiled: Transpiled, others: list[tuple[Transpiled, dict[str, Any]]]) -> Transpiled:
    rows = [transpiled.report, *(line for _, line in others)]
    patches = [{"patch": number, **{key: row[key] for key in _LINE}} for number, row in enumerate(rows)]
    report = {**transpiled.report, "patches": patches}
    return replace(transpiled, report=report, copies=tuple(copy for copy, _ in others))


def disjoint_places(
    circuit: QuantumCircuit,
    backend: BackendV2,
    spacing: int,
    *,
    around: Collection[int] = (),
    without: Collection[int] = (),
) -> Iterator[Embedding]:
    """Places for copies of a circuit, best first, each more than `spacing` couplings away from all before it.

    Args:
        circuit: Circuit to be placed without routing.
        backend: Device with a coupling map.
        spacing: Number of couplings that two copies are more than apart, at least 0; 0 lets them be neighbours.
        around: Qubits that are taken, to be kept away from as well.
        without: Qubits that are not to be used.
    """
    graph = backend.coupling_map.graph.to_undirected(multigraph=False)
    distance: NDArray[np.float64] = rustworkx.distance_matrix(graph, null_value=math.inf)
    blocked: NDArray[np.bool_] = np.any(distance[list(around)] <= spacing, axis=0)
    blocked[list(without)] = True
    for place in embeddings(circuit, backend):
        if not blocked[list(place.qubits)].any():
            yield place
            blocked |= np.any(distance[list(place.qubits)] <= spacing, axis=0)


def _side_by_side_anywhere(transpiled: Transpiled, spec: CircuitSpec, backend: BackendV2, copies: int) -> Transpiled:
    """On a simulator without couplings any qubits will do: copy k takes those after copy k - 1."""
    size = spec.num_qubits
    if copies * size > backend.num_qubits:
        raise HardwareError(
            f"pack {copies}: `{backend.name}` has room for {backend.num_qubits // size} copies of `{spec.name}` "
            f"({size} qubits): take fewer"
        )

    def shifted(number: int) -> Transpiled:
        layout = tuple(range(number * size, (number + 1) * size))
        circuit = QuantumCircuit(copies * size, name=transpiled.circuit.name)
        circuit.compose(transpiled.circuit, qubits=layout, inplace=True)
        return replace(transpiled, circuit=circuit, layout=layout, copies=())

    first, *others = (shifted(number) for number in range(copies))
    return _with_lines(first, [(copy, {**transpiled.report, "layout": list(copy.layout)}) for copy in others])
