"""Where on a device a circuit runs best: every embedding of its two-qubit gates, scored by the calibration.

An embedding puts each circuit qubit on a device qubit so that all two-qubit gates act on coupled qubits: no routing.
All of them are enumerated (rustworkx VF2, bounded) and scored by the estimated success, the product of the fidelities
of all gates and of the readout of each circuit qubit. For a ladder on a heavy-hexagonal device of 133 qubits that is
some thousand candidates in a fraction of a second, and the best is clearly better than the layout that the preset
transpiler finds by heuristics.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import rustworkx
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit import transpile as qiskit_transpile
from qiskit.circuit import Gate
from qiskit.providers import BackendV2
from qiskit.transpiler import Target
from qiskit.transpiler.exceptions import TranspilerError

from qhybrid.errors import CircuitError

MAX_EMBEDDINGS = 100_000
_MAX_VF2_STATES = 20_000_000


@dataclass(frozen=True)
class Embedding:
    """A place for a circuit on a device.

    Attributes:
        qubits: `qubits[i]` is the device qubit of circuit qubit i.
        success: Estimated probability, 0 to 1, that no gate and no readout fails.
    """

    qubits: tuple[int, ...]
    success: float


def embeddings(circuit: QuantumCircuit, backend: BackendV2, limit: int = MAX_EMBEDDINGS) -> list[Embedding]:
    """All places where the circuit runs without routing, best first.

    Couplings count as undirected: a gate against its native direction costs one-qubit gates only, which this score
    leaves out (`estimated_success` of the transpiled circuit counts them). Circuit qubits without two-qubit gates take
    the best device qubits that are left.

    Args:
        circuit: The circuit, without layout; any gates.
        backend: The device. Without a coupling map (a simulator) the identity is the only embedding returned.
        limit: Largest number of embeddings that are enumerated.

    Returns:
        Sorted by falling `success`, ties by qubit numbers; empty if the two-qubit gates fit nowhere.

    Raises:
        CircuitError: The circuit has more qubits than the device, or cannot be written in its gates.
    """
    if circuit.num_qubits > backend.num_qubits:
        raise CircuitError(
            f"the circuit has {circuit.num_qubits} qubits and `{backend.name}` {backend.num_qubits}: "
            "use a smaller circuit or a larger device"
        )
    if backend.coupling_map is None:
        return [Embedding(tuple(range(circuit.num_qubits)), 1.0)]
    gates = _count_gates(circuit, backend.target)
    costs = _Costs(gates, circuit.num_qubits, backend.target)
    connected = sorted({int(q) for where in gates for q in where[1:] if len(where) == 3})
    found = list(_enumerate(gates, connected, backend, limit))
    if not found:
        return []
    full = costs.fill(np.array(found, dtype=np.intp).reshape(len(found), len(connected)), connected)
    losses = costs.of(full)
    order = np.lexsort((*full.T[::-1], losses))
    return [Embedding(tuple(int(q) for q in full[i]), math.exp(-losses[i])) for i in order]


def best_embedding(circuit: QuantumCircuit, backend: BackendV2) -> list[int]:
    """The device qubit of each circuit qubit in the embedding of highest estimated success.

    Raises:
        CircuitError: The circuit is too large, or its two-qubit gates fit nowhere without routing.
    """
    found = embeddings(circuit, backend)
    if not found:
        raise CircuitError(
            f"the two-qubit gates of circuit `{circuit.name}` fit nowhere on `{backend.name}` without routing: "
            "use an ansatz with a linear entangler, or transpile it with `hardware.transpile`, which routes"
        )
    return list(found[0].qubits)


def estimated_success(circuit: QuantumCircuit, target: Target, measured: list[int]) -> float:
    """Product of all gate fidelities of a transpiled circuit and of the readout fidelities of the measured qubits.

    Args:
        circuit: A circuit on the device's qubits and in its basis.
        target: The device's calibration; an error that it does not state counts as 0.
        measured: Device qubits that are read out.

    Returns:
        Estimated probability of a run without error, between 0 and 1.
    """
    product = 1.0
    for instruction in circuit.data:
        if isinstance(instruction.operation, Gate):
            where = tuple(circuit.find_bit(q).index for q in instruction.qubits)
            product *= 1.0 - _error(target, instruction.operation.name, where)
    for qubit in measured:
        product *= 1.0 - _error(target, "measure", (qubit,))
    return max(product, 0.0)


def _error(target: Target, name: str, qubits: tuple[int, ...]) -> float:
    entries = target.get(name, None)
    properties = entries.get(qubits) if entries else None
    return properties.error if properties is not None and properties.error is not None else 0.0


def _count_gates(circuit: QuantumCircuit, target: Target) -> Counter[tuple[str | int, ...]]:
    """How often each basis gate acts on each circuit qubit or pair: keys (name, q) and (name, q, r)."""
    # Level 1: higher levels may move virtual qubits (elided swaps), and the count must keep the circuit's own order.
    free = _anywhere(target)
    try:
        native = qiskit_transpile(circuit, target=free, optimization_level=1, seed_transpiler=0)
    except TranspilerError:
        gates = sorted(name for name in free.operation_names if isinstance(free.operation_from_name(name), Gate))
        raise CircuitError(
            f"circuit `{circuit.name}` cannot be written in the device's gates ({', '.join(gates)}): take another "
            "ansatz or another device"
        ) from None
    counts: Counter[tuple[str | int, ...]] = Counter()
    for instruction in native.data:
        if isinstance(instruction.operation, Gate):
            qubits = (native.find_bit(q).index for q in instruction.qubits)
            counts[(instruction.operation.name, *qubits)] += 1
    return counts


def _anywhere(target: Target) -> Target:
    """The device's operations on any qubits: its basis without its couplings.

    Which operations are gates is what the target says of them. By their names alone a device's own instructions, such
    as a second kind of measurement (`measure_2`), could not be told from gates.
    """
    free = Target()
    for name in target.operation_names:
        operation = target.operation_from_name(name)
        if not isinstance(operation, type):
            free.add_instruction(operation, name=name)
    return free


def _enumerate(
    gates: Counter[tuple[str | int, ...]], connected: list[int], backend: BackendV2, limit: int
) -> Iterator[list[int]]:
    """Device qubits of the connected circuit qubits, in the order of `connected`."""
    if not connected:
        yield []
        return
    device: rustworkx.PyGraph[None, None] = rustworkx.PyGraph(multigraph=False)
    device.add_nodes_from([None] * backend.num_qubits)
    device.add_edges_from([(a, b, None) for a, b in backend.coupling_map.get_edges()])
    pattern: rustworkx.PyGraph[None, None] = rustworkx.PyGraph(multigraph=False)
    pattern.add_nodes_from([None] * len(connected))
    index = {qubit: node for node, qubit in enumerate(connected)}
    pattern.add_edges_from([(index[int(k[1])], index[int(k[2])], None) for k in gates if len(k) == 3])
    found = rustworkx.vf2_mapping(device, pattern, subgraph=True, induced=False, call_limit=_MAX_VF2_STATES)
    for mapping in itertools.islice(found, limit):
        place = [0] * len(connected)
        for device_qubit, node in mapping.items():
            place[node] = device_qubit
        yield place


class _Costs:
    """Negative log fidelities, so that an embedding's cost is a sum of table look-ups."""

    def __init__(self, gates: Counter[tuple[str | int, ...]], num_qubits: int, target: Target) -> None:
        size = target.num_qubits
        readout = [_loss(_error(target, "measure", (p,))) for p in range(size)]
        self._one: NDArray[np.float64] = np.tile(np.array(readout), (num_qubits, 1))
        self._two: dict[tuple[int, int], NDArray[np.float64]] = {}
        tables: dict[str, NDArray[np.float64]] = {}
        for (gate, *where), count in gates.items():
            name, qubits = str(gate), [int(q) for q in where]
            if len(qubits) == 1:
                self._one[qubits[0]] += [count * _loss(_error(target, name, (p,))) for p in range(size)]
            else:
                if name not in tables:
                    tables[name] = _pair_losses(target, name)
                pair = (qubits[0], qubits[1])
                self._two[pair] = self._two.get(pair, 0.0) + count * tables[name]

    def of(self, places: NDArray[np.intp]) -> NDArray[np.float64]:
        """Cost of each row of `places` (K, num_qubits)."""
        loss: NDArray[np.float64] = self._one[np.arange(places.shape[1])[None, :], places].sum(axis=1)
        for (a, b), table in self._two.items():
            loss = loss + table[places[:, a], places[:, b]]
        return loss

    def fill(self, places: NDArray[np.intp], connected: list[int]) -> NDArray[np.intp]:
        """Add the circuit qubits without two-qubit gates: each takes the cheapest device qubit that is free."""
        num_qubits, size = self._one.shape
        free = [q for q in range(num_qubits) if q not in connected]
        full = np.empty((len(places), num_qubits), dtype=np.intp)
        full[:, connected] = places
        taken = np.zeros((len(places), size), dtype=bool)
        np.put_along_axis(taken, places, True, axis=1)
        for qubit in free:
            choice = np.where(taken, np.inf, self._one[qubit]).argmin(axis=1)
            full[:, qubit] = choice
            taken[np.arange(len(places)), choice] = True
        return full


def _loss(error: float) -> float:
    # A broken gate (error 1) must lose against everything, yet stay a number that can be added.
    return -math.log(max(1.0 - error, 1e-300))


def _pair_losses(target: Target, name: str) -> NDArray[np.float64]:
    """Loss of a two-qubit gate on each pair, in whichever direction the device has it; infinite where it has none."""
    table = np.full((target.num_qubits, target.num_qubits), np.inf)
    for where in target[name]:
        table[where] = _loss(_error(target, name, where))
    return np.minimum(table, table.T)
