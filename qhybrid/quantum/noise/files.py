"""Aer noise models as JSON: every error, the readout and the relaxation of idle qubits; nothing is ever unpickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Delay, Instruction, Reset
from qiskit.circuit.library import PauliGate, UnitaryGate, get_standard_gate_name_mapping

from qhybrid.errors import CircuitError
from qhybrid.files import write_json
from qhybrid.quantum.noise.aer_model import (
    add_noise_pass,
    noise_passes,
    quantum_errors,
    readout_errors,
    relaxation_values,
)

if TYPE_CHECKING:
    from qiskit_aer.noise import NoiseModel

_FORMAT = "qhybrid noise model 1"
_MATRICES = frozenset({"kraus", "superop"})


def save_noise_model(model: NoiseModel, path: Path | str) -> None:
    """Write one JSON file, atomically.

    Raises:
        CircuitError: The model holds a pass other than the relaxation of delays, or an error in instructions that
            have no numbers.
        RunDirectoryError: The folder is not writable.
    """
    write_json(Path(path), noise_model_to_json(model))


def load_noise_model(path: Path | str) -> NoiseModel:
    """Read a file written by `save_noise_model`; equal to the model that was saved.

    Raises:
        CircuitError: The file is missing or holds something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CircuitError(f"noise model `{path}` cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise CircuitError(f"noise model `{path}` is not JSON: {error}") from None
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise CircuitError(f"`{path}` holds no noise model of this program: save one with save_noise_model")
    try:
        return noise_model_from_json(content)
    # What Aer and Qiskit make of numbers that are no channel is of many kinds.
    except Exception as error:  # noqa: BLE001
        raise CircuitError(f"noise model `{path}` is damaged: {' '.join(str(error).split())}") from None


def noise_model_to_json(model: NoiseModel) -> dict[str, Any]:
    """The model as lists, texts and numbers; see `save_noise_model`."""
    gates, read = quantum_errors(model), readout_errors(model)
    errors: list[tuple[str, Any, Any]] = [(name, None, error) for name, error in gates.default.items()]
    errors += [(name, q, error) for name, local in gates.local.items() for q, error in local.items()]
    readout: list[tuple[Any, Any]] = list(read.local.items())
    if read.default is not None:
        readout.insert(0, (None, read.default))
    return {
        "format": _FORMAT,
        "basis_gates": list(model.basis_gates),
        "quantum_errors": [
            {
                "instruction": name,
                "qubits": None if qubits is None else list(qubits),
                "terms": [
                    {"probability": float(p), "circuit": _circuit_to_json(circuit)}
                    for circuit, p in zip(error.circuits, error.probabilities, strict=True)
                ],
            }
            for name, qubits, error in errors
        ],
        "readout_errors": [
            {"qubits": None if qubits is None else list(qubits), "probabilities": np.asarray(e.probabilities).tolist()}
            for qubits, e in readout
        ],
        "relaxation": [_relaxation_to_json(item) for item in noise_passes(model)],
    }


def noise_model_from_json(content: dict[str, Any]) -> NoiseModel:
    """The reverse of `noise_model_to_json`."""
    from qiskit_aer.noise import NoiseModel, QuantumError, ReadoutError, RelaxationNoisePass

    model = NoiseModel(basis_gates=content["basis_gates"])
    for item in content["quantum_errors"]:
        terms = item["terms"]
        size = 1 + max((q for term in terms for step in term["circuit"] for q in step["qubits"]), default=0)
        size = max(size, len(item["qubits"] or ()))
        error = QuantumError([(_circuit_from_json(term["circuit"], size), term["probability"]) for term in terms])
        if item["qubits"] is None:
            model.add_all_qubit_quantum_error(error, item["instruction"], warnings=False)
        else:
            model.add_quantum_error(error, item["instruction"], item["qubits"], warnings=False)
    for item in content["readout_errors"]:
        if item["qubits"] is None:
            model.add_all_qubit_readout_error(ReadoutError(item["probabilities"]), warnings=False)
        else:
            model.add_readout_error(ReadoutError(item["probabilities"]), item["qubits"], warnings=False)
    for item in content["relaxation"]:
        times = [[np.inf if t is None else t for t in item[key]] for key in ("t1s", "t2s")]
        relaxation = RelaxationNoisePass(
            *times, dt=item["dt"], op_types=Delay, excited_state_populations=item["excited_state_populations"]
        )
        add_noise_pass(model, relaxation)
    return model


def _relaxation_to_json(item: Any) -> dict[str, Any]:
    values = relaxation_values(item)
    if values is None:
        raise CircuitError(
            f"the noise model's pass {type(item).__name__} cannot be written down: only the relaxation of delays can"
        )
    return {
        # JSON has no infinity.
        **{key: [None if np.isinf(t) else float(t) for t in values[key]] for key in ("t1s", "t2s")},
        "excited_state_populations": [float(p) for p in values["excited_state_populations"]],
        "dt": None if values["dt"] is None else float(values["dt"]),
    }


def _circuit_to_json(circuit: QuantumCircuit) -> list[dict[str, Any]]:
    return [
        {
            "name": step.operation.name,
            "qubits": [circuit.find_bit(q).index for q in step.qubits],
            "params": [_parameter_to_json(p, step.operation.name) for p in step.operation.params],
        }
        for step in circuit.data
    ]


def _parameter_to_json(value: Any, name: str) -> Any:
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    if array.dtype == object:
        raise CircuitError(f"an error holds the instruction `{name}` with parameters that are no numbers: {value!r}")
    if array.ndim == 0 and not np.iscomplexobj(array):
        return float(array)
    return {"re": np.real(array).tolist(), "im": np.imag(array).tolist()}


def _circuit_from_json(steps: list[dict[str, Any]], size: int) -> QuantumCircuit:
    circuit = QuantumCircuit(size)
    for step in steps:
        circuit.append(_instruction(step["name"], step["params"], len(step["qubits"])), step["qubits"])
    return circuit


def _instruction(name: str, params: list[Any], size: int) -> Instruction:
    values = [np.array(p["re"]) + 1j * np.array(p["im"]) if isinstance(p, dict) else p for p in params]
    if name == "reset":
        return Reset()
    if name == "pauli":
        return PauliGate(*values)
    if name == "unitary":
        return UnitaryGate(*values)
    if name in _MATRICES:
        return Instruction(name, size, 0, values)
    gates = get_standard_gate_name_mapping()
    if name not in gates:
        raise ValueError(f"unknown instruction `{name}`")
    return type(gates[name])(*values)
