"""Circuits that prepare a state whose amplitudes are parameters: refused by name, or trained without gradients."""

import numpy as np
import pytest
import torch
from qiskit.primitives import StatevectorEstimator
from qiskit.primitives.base import BaseEstimatorV2
from qiskit.quantum_info import SparsePauliOp
from qiskit_machine_learning.circuit.library import raw_feature_vector

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.estimators.aer import AerEstimator
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.layer.layer import QuantumLayer, build_qnn


def spec() -> CircuitSpec:
    circuit = raw_feature_vector(4)
    return CircuitSpec("raw", circuit, tuple(circuit.parameters), (), (SparsePauliOp("IZ"), SparsePauliOp("XX")))


@pytest.mark.parametrize("kind", [CompiledEstimator, AerEstimator])
def test_free_amplitudes_are_refused_by_name(kind: type[BaseEstimatorV2]) -> None:
    raw = spec()
    with pytest.raises(CircuitError, match=r"`ParameterizedInitialize`.*rotations"):
        kind().run([(raw.circuit, "ZZ", [0.5, 0.5, 0.5, 0.5])]).result()
    with pytest.raises(CircuitError, match="`ParameterizedInitialize`"):
        QuantumLayer(build_qnn(raw, kind()))
    with pytest.raises(CircuitError, match="`ParameterizedInitialize`"):
        QuantumLayer(build_qnn(raw, StatevectorEstimator()))


def test_the_way_that_the_refusal_names_works() -> None:
    layer = QuantumLayer(build_qnn(spec(), StatevectorEstimator()), gradient="spsa")
    amplitudes = np.array([0.6, 0.0, 0.0, 0.8])
    found = layer(torch.as_tensor(amplitudes[None], dtype=torch.float64)).detach().numpy()
    np.testing.assert_allclose(found, [[0.36 - 0.64, 2 * 0.6 * 0.8]], atol=1e-6)


def test_they_have_a_fingerprint() -> None:
    assert spec().content_hash() == spec().content_hash()
