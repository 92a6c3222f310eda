"""Circuits of the bottleneck: RY encoding of bounded angles, trained layers, <Z> of each qubit.

A registered ansatz is a function `(options, num_qubits, num_layers) -> CircuitSpec`; see `qhybrid.registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector

from qhybrid.config import Choice, CircuitFileConfig, QuantumConfig
from qhybrid.config.choice import Registered
from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.observables import named_observables, z_observables
from qhybrid.quantum.circuits.own import read_circuit_file
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.registry import ANSAETZE, NoOptions, register_ansatz

Angles = Sequence[Parameter]


def build_spec(ansatz: str | Choice, num_qubits: int | None, num_layers: int | None) -> CircuitSpec:
    """The circuit of a registered ansatz, ours or an installed package's.

    Args:
        ansatz: The name, or the name with options.
        num_qubits: Number of qubits, at least 1; `None` for a circuit from a file.
        num_layers: Number of layers, at least 1; `None` for a circuit from a file.

    Raises:
        CircuitError: Unknown ansatz or options, no qubit or no layer; what the ansatz builds is no `CircuitSpec`, or
            has another number of qubits.
    """
    try:
        choice = Registered(ANSAETZE).choose(ansatz)
        entry = ANSAETZE.find(choice.name)
    except ValueError as error:
        raise CircuitError(str(error)) from None
    spec = entry.builder(choice.options, num_qubits, num_layers)
    if not isinstance(spec, CircuitSpec):
        raise CircuitError(
            f"ansatz `{entry.name}` of package `{entry.package}` builds a {type(spec).__name__}, not a CircuitSpec"
        )
    if num_qubits is not None and spec.num_qubits != num_qubits:
        raise CircuitError(
            f"`quantum.qubits: {num_qubits}` contradicts circuit `{spec.name}`, which has {spec.num_qubits}: leave "
            f"`qubits` out, or set it to {spec.num_qubits}"
        )
    return spec


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
    """The circuit that a configuration names, with the outputs that it names.

    Raises:
        CircuitError: See `build_spec`; or an observable is over another number of qubits.
    """
    spec = build_spec(config.ansatz, config.qubits, config.layers)
    if config.observables is None:
        return spec
    if isinstance(config.ansatz.options, CircuitFileConfig) and config.ansatz.options.observables is not None:
        raise CircuitError("`quantum.observables` and `quantum.ansatz.observables` are both given: leave one out")
    return replace(spec, observables=named_observables(config.observables, spec.num_qubits))


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


@register_ansatz("ry_rz_ladder")
def _ladder(_options: NoOptions, num_qubits: int, num_layers: int) -> CircuitSpec:
    """RY(x), then layers of RZ(w), RY(w) and a CX ladder."""
    return _build("ry_rz_ladder", num_qubits, num_layers, 2, _rz_ry_layer, None)


@register_ansatz("real_amplitudes")
def _real_amplitudes(_options: NoOptions, num_qubits: int, num_layers: int) -> CircuitSpec:
    """RY(x), then layers of RY(w) and a CX ladder, RY(w) at the end: no imaginary amplitudes."""
    return _build("real_amplitudes", num_qubits, num_layers, 1, _ry_layer, _last_ry)


@register_ansatz("reuploading")
def _reuploading(_options: NoOptions, num_qubits: int, num_layers: int) -> CircuitSpec:
    """Layers of RY(x), RZ(w), RY(w) and a CX ladder: the inputs enter again in each."""
    return _build("reuploading", num_qubits, num_layers, 2, _reuploading_layer, None)


@register_ansatz("file", section=CircuitFileConfig)
def _file(options: CircuitFileConfig, _num_qubits: int | None, _num_layers: int | None) -> CircuitSpec:
    """A circuit of the user's own."""
    return read_circuit_file(options)
