"""The circuit and how it is simulated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from qhybrid.config.section import Section


class DeviceNoiseConfig(Section):
    """The noise of a device snapshot, applied to the transpiled circuit while it is simulated."""

    device: str = Field(description="Name of the device snapshot, e.g. `fake_torino`.")
    readout_error: bool = Field(
        default=True, description="Whether the device's readout errors act as well as its gate errors."
    )


class QuantumConfig(Section):
    """The circuit of the `quantum` arm and how it is simulated in training."""

    ansatz: Literal["ry_rz_ladder", "real_amplitudes", "reuploading"] = Field(
        default="ry_rz_ladder", description="Name of the trained circuit."
    )
    qubits: int = Field(
        default=4,
        ge=1,
        description="Number of qubits, at least 1; the compiled simulator with device noise takes at most 8.",
    )
    layers: int = Field(default=3, ge=1, description="Number of trained layers, at least 1.")
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
        if self.simulator == "compiled" and self.noise is not None and self.qubits > 8:
            raise ValueError(
                f"`noise` with `qubits: {self.qubits}`: the compiled simulator follows density matrices of at most 8 "
                "qubits; use `simulator: aer` with `shots` (trajectories)"
            )
        return self
