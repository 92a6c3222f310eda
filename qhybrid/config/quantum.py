"""The circuit and how it is simulated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from qhybrid.config.section import Section


class DeviceNoiseConfig(Section):
    """The noise of a device snapshot, applied to the transpiled circuit while it is simulated."""

    device: str
    readout_error: bool = True


class QuantumConfig(Section):
    """The circuit of the `quantum` arm and how it is simulated in training."""

    ansatz: Literal["ry_rz_ladder", "real_amplitudes", "reuploading"] = "ry_rz_ladder"
    qubits: int = Field(default=4, ge=1)
    layers: int = Field(default=3, ge=1)
    simulator: Literal["compiled", "aer"] = "compiled"
    noise: DeviceNoiseConfig | None = None
    shots: int | None = Field(default=None, ge=1)
    gradient: Literal["exact", "parameter_shift"] = "exact"
    allow_dead_parameters: bool = False

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
