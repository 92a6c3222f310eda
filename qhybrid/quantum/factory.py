"""The estimator that a configuration asks for."""

from __future__ import annotations

from qiskit.primitives.base import BaseEstimatorV2

from qhybrid.config import QuantumConfig
from qhybrid.quantum.estimator import CompiledEstimator
from qhybrid.quantum.spec import CircuitSpec


def build_estimator(spec: CircuitSpec, config: QuantumConfig, seed: int) -> BaseEstimatorV2:
    """`CompiledEstimator`, or `AerEstimator` with the shots and the device noise of the configuration.

    Device noise is that of the best place for this circuit on the device snapshot, so both training and hardware runs
    see the same qubits.

    Args:
        spec: The circuit, to find its place on the device.
        config: Simulator, shots and noise.
        seed: Of sampled shots.

    Raises:
        CircuitError: Unknown device, or the circuit does not fit it without routing.
    """
    if config.simulator == "compiled":
        return CompiledEstimator()
    from qhybrid.quantum.aer import AerEstimator

    if config.noise is None:
        return AerEstimator(shots=config.shots, seed=seed)
    from qhybrid.quantum.devices import crop, snapshot
    from qhybrid.quantum.embedding import best_embedding

    device = snapshot(config.noise.device)
    part = crop(device, best_embedding(spec.circuit, device))
    return AerEstimator(device=part, readout_error=config.noise.readout_error, shots=config.shots, seed=seed)
