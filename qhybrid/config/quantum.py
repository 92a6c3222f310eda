"""The circuit and how it is simulated."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from qhybrid.config.choice import AnsatzChoice, Choice
from qhybrid.config.section import Section

DEFAULT_QUBITS, DEFAULT_LAYERS = 4, 3
# A density matrix of n qubits takes as much memory as a state of 2n; more are for Aer's trajectories.
MAX_NOISY_QUBITS = 8


class DeviceNoiseConfig(Section):
    """The noise of a device snapshot, applied to the transpiled circuit while it is simulated."""

    device: str = Field(description="Name of the device snapshot, e.g. `fake_torino`.")
    readout_error: bool = Field(
        default=True, description="Whether the device's readout errors act as well as its gate errors."
    )


class CircuitFileConfig(Section):
    """A circuit of your own, read from a file: `ansatz: {file: my_circuit.qpy, inputs: x}`."""

    file: str = Field(min_length=1, description="Path of the circuit: Qiskit's QPY or OpenQASM 3 (`.qasm`, `.qasm3`).")
    inputs: str | Annotated[list[str], Field(min_length=1)] = Field(
        description="Parameters that carry data: a list of their names, or what their names begin with; the others are"
        " trained.",
    )
    observables: list[str] | str | None = Field(
        default=None,
        description="Outputs, instead of `quantum.observables`: a list of Pauli labels (the rightmost letter is qubit "
        "0), or the path of a JSON file with a list of labels, {label: coefficient} or [[label, coefficient], ...]; "
        "null takes `quantum.observables`.",
    )


class QuantumConfig(Section):
    """The circuit of the `quantum` arm and how it is simulated in training."""

    ansatz: AnsatzChoice = Field(
        default=Choice("ry_rz_ladder"),
        description="Trained circuit: the name of a registered one, a mapping of its name and its options, or a file "
        "`{file: my_circuit.qpy, inputs: x}`.",
    )
    qubits: int | None = Field(
        default=None,
        ge=1,
        description="Number of qubits, at least 1; the compiled simulator with device noise takes at most 8; null "
        f"takes {DEFAULT_QUBITS}, or the number that a circuit from a file has.",
    )
    layers: int | None = Field(
        default=None,
        ge=1,
        le=1_000,
        description=f"Number of trained layers, 1 to 1,000; null takes {DEFAULT_LAYERS}; null for a circuit from a "
        "file, which has its own.",
    )
    observables: Literal["z", "zz"] | Annotated[list[str], Field(min_length=1)] | None = Field(
        default=None,
        description="Outputs of the circuit: `z` for <Z> of each qubit, `zz` for <ZZ> of each pair of qubits, or a "
        "list of Pauli labels (the rightmost letter is qubit 0); null takes those of the ansatz itself, `z` for ours.",
    )
    simulator: Literal["compiled", "aer"] = Field(
        default="compiled",
        description="What computes expectation values: the compiled simulator, or Qiskit Aer (the slow reference).",
    )
    noise: DeviceNoiseConfig | None = Field(
        default=None, description="Device noise under which the circuit is simulated; null simulates it without."
    )
    shots: int | None = Field(
        default=None,
        ge=1,
        description="Shots per expectation value, at least 1; null computes expectation values exactly.",
    )
    gradient: Literal["exact", "parameter_shift"] = Field(
        default="exact",
        description=(
            "Gradient through shots: of the exact expectation values, or `parameter_shift` from sampled shifted "
            "circuits (needs `shots`)."
        ),
    )
    allow_dead_parameters: bool = Field(
        default=False, description="Whether a circuit with parameters that no output depends on may be trained."
    )

    @model_validator(mode="before")
    @classmethod
    def _sizes_are_for_built_circuits(cls, values: Any) -> Any:
        """A circuit that is built to size has sizes; one from a file has its own."""
        if not isinstance(values, dict):
            return values
        ansatz = values.get("ansatz")
        name = (
            ansatz.name
            if isinstance(ansatz, Choice)
            else ansatz.get("name", "file")
            if isinstance(ansatz, dict)
            else ""
        )
        if name == "file":
            return values
        sizes = {"qubits": DEFAULT_QUBITS, "layers": DEFAULT_LAYERS}
        return values | {key: size for key, size in sizes.items() if values.get(key) is None}

    @model_validator(mode="after")
    def _layers_are_not_for_files(self) -> QuantumConfig:
        if self.ansatz.name == "file" and self.layers is not None:
            raise ValueError(f"`layers: {self.layers}`: a circuit from a file has its own layers; leave `layers` out")
        return self

    @model_validator(mode="after")
    def _shifts_are_for_shots(self) -> QuantumConfig:
        if self.gradient == "parameter_shift" and (self.simulator == "aer" or self.shots is None):
            raise ValueError(
                "`gradient: parameter_shift` samples shifted circuits: it needs `simulator: compiled` and `shots` "
                "(`simulator: aer` always shifts)"
            )
        return self

    @model_validator(mode="after")
    def _noise_is_for_small_circuits(self) -> QuantumConfig:
        if self.simulator == "compiled" and self.noise is not None and (self.qubits or 0) > MAX_NOISY_QUBITS:
            raise ValueError(
                f"`noise` with `qubits: {self.qubits}`: the compiled simulator follows density matrices of at most "
                f"{MAX_NOISY_QUBITS} qubits; use `simulator: aer` with `shots` (trajectories)"
            )
        return self
