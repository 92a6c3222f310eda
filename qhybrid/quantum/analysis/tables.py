"""What `qhybrid inspect` shows: tables of a circuit, its trainability and its loss on a device, and a picture."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from qiskit.circuit import Parameter, ParameterExpression
from qiskit.exceptions import MissingOptionalLibraryError
from qiskit.quantum_info import SparsePauliOp
from rich.table import Table

from qhybrid.errors import CircuitError
from qhybrid.files import atomic_path
from qhybrid.quantum.analysis.diagnosis import Diagnosis
from qhybrid.quantum.analysis.expressibility import Capability
from qhybrid.quantum.analysis.signal_loss import DeviceShrinkage
from qhybrid.quantum.circuits.spec import CircuitSpec

PICTURE_FORMATS = (".png", ".svg", ".pdf")
_AMPLITUDES = 2**18
_FLAT = 1e-6


def affordable_pairs(num_qubits: int) -> int:
    """Pairs of states for `measure_capability` that take a few seconds."""
    return max(4, min(1000, _AMPLITUDES >> num_qubits))


def circuit_table(spec: CircuitSpec) -> Table:
    """Sizes of the circuit."""
    circuit = spec.circuit
    table = Table("circuit", spec.name, title="circuit")
    counts = ", ".join(f"{count} {name}" for name, count in circuit.count_ops().items())
    rows = {
        "qubits": spec.num_qubits,
        "inputs": len(spec.inputs),
        "weights": len(spec.weights),
        "outputs": spec.num_outputs,
        "gates": counts,
        "depth": circuit.depth(),
        "depth of two-qubit gates": circuit.depth(lambda item: len(item.qubits) > 1),
    }
    for name, value in rows.items():
        table.add_row(name, str(value))
    return table


def parameter_table(spec: CircuitSpec, diagnosis: Diagnosis) -> Table:
    """Parameters with their gradients; neighbours that are alike share a row."""
    table = Table("parameters", "role", "gates", "gradient variance", "reaches", title="what the circuit can learn")
    dead = {*diagnosis.dead, *diagnosis.dead_inputs}
    inputs, proven = {*diagnosis.inputs}, {*diagnosis.proven}
    gates = _gates_of(spec)
    reached = {name: sum(name in cone.parameters for cone in diagnosis.light_cones) for name in diagnosis.parameters}

    def kind(name: str) -> tuple[str, str, str]:
        fate = "nothing: dead, proven" if name in proven else "nothing: dead" if name in dead else "outputs"
        return ("input" if name in inputs else "weight", gates[name], fate)

    for (role, gate, fate), group in itertools.groupby(diagnosis.parameters, kind):
        names = list(group)
        label = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        variances = [diagnosis.gradient_variance[name] for name in names]
        counts = [reached[name] for name in names]
        if fate == "outputs":
            fate = f"{_range(min(counts), max(counts), 'd')} of {spec.num_outputs} outputs"
        table.add_row(label, role, gate, _range(min(variances), max(variances), ".1e"), fate)
    return table


def output_table(spec: CircuitSpec, diagnosis: Diagnosis, device: DeviceShrinkage | None = None) -> Table:
    """Outputs with their light cones and, on a device, what is left of them.

    Args:
        spec: Circuit whose outputs are listed.
        diagnosis: Result of `diagnose` for this circuit, which has the light cones.
        device: Signal that a device leaves of the outputs; `None` leaves those columns out.
    """
    loss = ("left after gates", "and readout", "offset") if device else ()
    title = "outputs" if device is None else f"outputs, and what is left of them on {device.device}"
    weights = {parameter.name for parameter in spec.weights}
    table = Table("output", "observable", "depends on qubits", "weights", *loss, title=title)
    for index, (observable, cone) in enumerate(zip(spec.observables, diagnosis.light_cones, strict=True)):
        row = [str(index), _label(observable), _numbers(cone.qubits), str(len(weights & {*cone.parameters}))]
        if device:
            row += [_share(device.gates.slope[index]), _share(device.total.slope[index])]
            row.append(f"{device.total.offset[index]:+.3f}")
        table.add_row(*row)
    return table


def summary_lines(diagnosis: Diagnosis, capability: Capability, device: DeviceShrinkage | None = None) -> Iterator[str]:
    """The findings about a circuit in words, a line each.

    Args:
        diagnosis: Result of `diagnose`: parameters that are dead, and gradients.
        capability: Result of `measure_capability`: expressibility and entanglement.
        device: Signal that a device leaves of the outputs, if one is named.
    """
    dead = len(diagnosis.dead) + len(diagnosis.dead_inputs)
    yield f"{dead} of {len(diagnosis.parameters)} parameters are dead ({len(diagnosis.proven)} proven by structure)"
    yield f"variances over {diagnosis.draws} draws of all angles, seed {diagnosis.seed}"
    if capability.haar_floor < _FLAT:
        yield "expressibility: not resolved, random states of so many qubits have no overlap to speak of"
    else:
        yield (
            f"expressibility: KL divergence {capability.expressibility:.3f} from random states "
            f"({capability.haar_floor:.3f} is what random states give over {capability.pairs} pairs, "
            f"{capability.idle:.0f} what an idle circuit gives)"
        )
    yield (
        f"entangling capability: Meyer-Wallach Q {capability.entanglement:.2f} "
        f"(0 product states, {capability.haar_entanglement:.2f} random states)"
    )
    if device:
        left = [slope for slope in device.total.slope if slope is not None]
        yield f"{device.device}: circuit qubits on device qubits {', '.join(map(str, device.qubits))}"
        if left:
            yield (
                f"{device.device}: {min(left):.0%} to {max(left):.0%} of the signal is left; the weakest output needs "
                f"{1 / min(left) ** 2:.1f} times the shots"
            )


def save_picture(spec: CircuitSpec, path: Path) -> None:
    """Draw the circuit into a file, atomically; the suffix is the format.

    Raises:
        CircuitError: Another suffix than png, svg or pdf, or a package for drawing is missing.
        RunDirectoryError: The folder is not writable.
    """
    if path.suffix.lower() not in PICTURE_FORMATS:
        raise CircuitError(f"picture `{path}`: the name must end in {', '.join(PICTURE_FORMATS)}")
    import matplotlib

    # Drawn without a display, whatever backend the environment names.
    previous = matplotlib.get_backend()
    matplotlib.use("agg")
    try:
        figure = spec.circuit.draw("mpl", fold=40)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=120, bbox_inches="tight")
    except MissingOptionalLibraryError as error:
        raise CircuitError(f"the circuit cannot be drawn: {' '.join(str(error).split())}") from None
    finally:
        matplotlib.use(previous)


def _gates_of(spec: CircuitSpec) -> dict[str, str]:
    """Names of the gates that each parameter turns."""
    found: dict[str, dict[str, None]] = {}
    for instruction in spec.circuit.data:
        for value in instruction.operation.params:
            held: set[Parameter] = value.parameters if isinstance(value, ParameterExpression) else set()
            for parameter in held:
                found.setdefault(parameter.name, {})[instruction.operation.name] = None
    return {p.name: ", ".join(found.get(p.name, {"none": None})) for p in (*spec.inputs, *spec.weights)}


def _label(observable: SparsePauliOp) -> str:
    terms = []
    for pauli, qubits, value in observable.to_sparse_list():
        name = " ".join(f"{letter}{qubit}" for letter, qubit in zip(pauli, qubits, strict=True)) or "1"
        terms.append(name if value == 1 else f"{np.real(value):g} {name}")
    return " + ".join(terms) if len(terms) <= 3 else f"{terms[0]} + {len(terms) - 1} more"


def _numbers(values: tuple[int, ...]) -> str:
    """`0 to 3` for a run of numbers, else a list."""
    if len(values) > 2 and values == tuple(range(values[0], values[-1] + 1)):
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values)) or "none"


def _range(low: float, high: float, form: str) -> str:
    if high == 0:
        return "0"
    first, last = f"{low:{form}}", f"{high:{form}}"
    return first if first == last else f"{first} to {last}"


def _share(slope: float | None) -> str:
    return "constant" if slope is None else f"{slope:.1%}"
