"""The circuit in tensors; its numbers are tested beside the kernels'."""

import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

from qhybrid.quantum.engine.compiler.angles import Features
from qhybrid.quantum.engine.statevector.tensors import TorchCircuit
from qhybrid.quantum.estimators.compiled import CompiledEstimator


def test_everything_stays_on_the_device() -> None:
    """On the device `meta` any tensor that was left on the CPU is an error, as it would be on a GPU."""
    w = ParameterVector("w", 5)
    circuit = QuantumCircuit(4)
    circuit.h(range(4))
    circuit.ry(w[0], 0)
    circuit.rzx(w[1], 0, 2)
    circuit.ccx(0, 1, 2)
    circuit.rxx(w[2], 1, 3)
    circuit.s(2)
    circuit.cx(2, 3)
    circuit.rx(w[3], 3)
    circuit.cz(0, 3)
    circuit.rzz(w[4], 0, 1)
    circuit.rx(0.3, range(4))
    observables = [SparsePauliOp("ZZII"), SparsePauliOp(["XIYI", "IZII"], [0.5, -1.0])]
    program = CompiledEstimator().compile(circuit, observables, list(w)).program
    # Blocks, rotations and permutations with phases.
    assert set(program.ops[:, 0].tolist()) == {0, 1, 2}
    assert len(program.phases)
    device = torch.device("meta")
    tensors = TorchCircuit(program, Features(list(w)), device)
    features = tensors.features(torch.zeros(6, 5))
    outputs, states = tensors.forward(features)
    gradient = tensors.pull_back(features, tensors.vjp(features, torch.zeros(6, 2), states))
    assert (outputs.shape, outputs.device) == ((6, 2), device)
    assert (gradient.shape, gradient.device) == ((6, 5), device)
