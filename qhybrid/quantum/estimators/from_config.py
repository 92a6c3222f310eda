"""The estimator that a configuration asks for."""

from __future__ import annotations

from qiskit.primitives.base import BaseEstimatorV2

from qhybrid.config import QuantumConfig
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.estimators.compiled import CompiledEstimator


def build_estimator(spec: CircuitSpec, config: QuantumConfig, seed: int) -> BaseEstimatorV2:
    """The estimator with the shots and the device noise of the configuration.

    Device noise is that of the best place for this circuit on the device snapshot, so both training and hardware runs
    see the same qubits; the circuit is transpiled to the device's gates there.

    Args:
        spec: The circuit, to find its place on the device.
        config: Simulator, shots and noise.
        seed: Seed of the sampled shots.

    Raises:
        CircuitError: Unknown device, or the circuit does not fit it without routing.
    """
    device, readout_error = None, True
    if config.noise is not None:
        from qhybrid.quantum.devices.embedding import best_embedding
        from qhybrid.quantum.devices.snapshots import crop, snapshot

        whole = snapshot(config.noise.device)
        device = crop(whole, best_embedding(spec.circuit, whole))
        readout_error = config.noise.readout_error
    if config.simulator == "compiled":
        return CompiledEstimator(
            device=device, readout_error=readout_error, shots=config.shots, seed=seed, gradient=config.gradient
        )
    from qhybrid.quantum.estimators.aer import AerEstimator

    return AerEstimator(device=device, readout_error=readout_error, shots=config.shots, seed=seed)
