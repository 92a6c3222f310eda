"""Sizes of a trained model and of its circuit, as the report, the comparison and the model card tell them."""

from __future__ import annotations

from typing import Any

from qhybrid.checkpoints.checkpoint import Checkpoint
from qhybrid.errors import CircuitError


def model_facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """Steps, parameters and circuit of a trained model.

    Args:
        checkpoint: The trained model.

    Returns:
        `step`, `class_names` (empty for an unconditional model), `arm` (name of the core), `parameters` and
        `gate_parameters` as counts, and `circuit`: `None`, or `name`, its counts of `qubits`, `outputs`, `inputs` and
        `weights`, `depth`, `two_qubit_gates` and `dead`, the names of weights that can never learn (`None` where the
        circuit is too large to tell).
    """
    from qhybrid.quantum import diagnose

    found: dict[str, Any] = {
        "step": checkpoint.step,
        "class_names": [] if checkpoint.labels is None else list(checkpoint.labels.names),
        "arm": checkpoint.config.model.bottleneck.core.name,
        "parameters": sum(parameter.numel() for parameter in checkpoint.model.parameters()),
        "gate_parameters": sum(parameter.numel() for parameter in checkpoint.model.bottleneck.parameters()),
        "circuit": None,
    }
    spec = checkpoint.spec
    if spec is None:
        return found
    try:
        dead = list(diagnose(spec).dead)
    except CircuitError:
        dead = None  # too large to simulate: nothing is known
    circuit = {
        "name": spec.name,
        "qubits": spec.num_qubits,
        "outputs": spec.num_outputs,
        "inputs": len(spec.inputs),
        "weights": len(spec.weights),
        "depth": spec.circuit.depth(),
        "two_qubit_gates": spec.circuit.num_nonlocal_gates(),
        "dead": dead,
    }
    return {**found, "circuit": circuit}
