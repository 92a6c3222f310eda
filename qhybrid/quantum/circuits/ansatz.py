"""Circuits of the bottleneck: RY encoding of bounded angles, trained layers, <Z> of each qubit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import SparsePauliOp

from qhybrid.config import QuantumConfig
from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.spec import CircuitSpec

Angles = Sequence[Parameter]


def build_spec(ansatz: str, num_qubits: int, num_layers: int) -> CircuitSpec:
    """The named ansatz; inputs `x[i]` (one per qubit), weights `w[j]`, outputs <Z_i> with i = 0 ... num_qubits - 1.

    Args:
        ansatz: `ry_rz_ladder`, `real_amplitudes` or `reuploading`.
        num_qubits: At least 1.
        num_layers: At least 1.

    Raises:
        CircuitError: Unknown ansatz, no qubit or no layer.
    """
    if ansatz not in _LAYERS:
        raise CircuitError(f"unknown ansatz `{ansatz}` (known: {', '.join(_LAYERS)})")
    return _build(ansatz, num_qubits, num_layers, *_LAYERS[ansatz])


def published_spec(num_qubits: int = 16, num_layers: int = 3) -> CircuitSpec:
    """The circuit printed in arXiv 2504.00034: RY(x), then layers of RZ(w) on each qubit and a CX ladder.

    No <Z_i> depends on `w`: RZ is diagonal and CX permutes basis states, so both leave |amplitude|^2 of the encoded
    state where it is, up to relabelling. It is kept as the control arm that cannot learn.
    """
    return _build("published", num_qubits, num_layers, 1, _rz_layer, None)


def benchmark_spec(num_qubits: int, num_layers: int = 3) -> CircuitSpec:
    """The circuit of the speed benchmarks: RY(x), then layers of RY(w), RZ(w) and a CX ladder."""
    return _build("benchmark", num_qubits, num_layers, 2, _ry_rz_layer, None)


def spec_from_config(config: QuantumConfig) -> CircuitSpec:
    """The circuit that a configuration names."""
    return build_spec(config.ansatz, config.qubits, config.layers)


def z_observables(num_qubits: int) -> tuple[SparsePauliOp, ...]:
    """<Z_i> for i = 0 ... num_qubits - 1; observable i acts on qubit i."""
    return tuple(SparsePauliOp.from_sparse_list([("Z", [i], 1.0)], num_qubits=num_qubits) for i in range(num_qubits))


LayerBuilder = Callable[[QuantumCircuit, Angles, Angles], None]


def _build(
    name: str,
    num_qubits: int,
    num_layers: int,
    angles_per_qubit: int,
    add_layer: LayerBuilder,
    add_last: LayerBuilder | None,
) -> CircuitSpec:
    if num_qubits < 1 or num_layers < 1:
        raise CircuitError(
            f"ansatz `{name}` with {num_qubits} qubits and {num_layers} layers: at least 1 of each is needed"
        )
    per_layer = angles_per_qubit * num_qubits
    inputs = ParameterVector("x", num_qubits)
    weights = ParameterVector("w", per_layer * num_layers + (num_qubits if add_last else 0))
    circuit = QuantumCircuit(num_qubits, name=name)
    if add_layer is not _reuploading_layer:
        _encode(circuit, inputs)
    for layer in range(num_layers):
        add_layer(circuit, inputs, weights[layer * per_layer : (layer + 1) * per_layer])
    if add_last:
        add_last(circuit, inputs, weights[num_layers * per_layer :])
    return CircuitSpec(name, circuit, tuple(inputs), tuple(weights), z_observables(num_qubits))


def _encode(circuit: QuantumCircuit, inputs: Angles) -> None:
    for qubit, angle in enumerate(inputs):
        circuit.ry(angle, qubit)


def _cx_ladder(circuit: QuantumCircuit) -> None:
    for qubit in range(circuit.num_qubits - 1):
        circuit.cx(qubit, qubit + 1)


def _rz_ry_layer(circuit: QuantumCircuit, _inputs: Angles, weights: Angles) -> None:
    # RZ stands before RY: an RZ that is followed only by CX and a Z measurement commutes away, so with RY first the
    # last layer's RZ weights would have no effect at all.
    n = circuit.num_qubits
    for qubit in range(n):
        circuit.rz(weights[qubit], qubit)
        circuit.ry(weights[n + qubit], qubit)
    _cx_ladder(circuit)


def _ry_rz_layer(circuit: QuantumCircuit, _inputs: Angles, weights: Angles) -> None:
    n = circuit.num_qubits
    for qubit in range(n):
        circuit.ry(weights[qubit], qubit)
        circuit.rz(weights[n + qubit], qubit)
    _cx_ladder(circuit)


def _reuploading_layer(circuit: QuantumCircuit, inputs: Angles, weights: Angles) -> None:
    _encode(circuit, inputs)
    _rz_ry_layer(circuit, inputs, weights)


def _ry_layer(circuit: QuantumCircuit, _inputs: Angles, weights: Angles) -> None:
    for qubit in range(circuit.num_qubits):
        circuit.ry(weights[qubit], qubit)
    _cx_ladder(circuit)


def _last_ry(circuit: QuantumCircuit, _inputs: Angles, weights: Angles) -> None:
    for qubit in range(circuit.num_qubits):
        circuit.ry(weights[qubit], qubit)


def _rz_layer(circuit: QuantumCircuit, _inputs: Angles, weights: Angles) -> None:
    for qubit in range(circuit.num_qubits):
        circuit.rz(weights[qubit], qubit)
    _cx_ladder(circuit)


_LAYERS: dict[str, tuple[int, LayerBuilder, LayerBuilder | None]] = {
    "ry_rz_ladder": (2, _rz_ry_layer, None),
    "real_amplitudes": (1, _ry_layer, _last_ry),
    "reuploading": (2, _reuploading_layer, None),
}
