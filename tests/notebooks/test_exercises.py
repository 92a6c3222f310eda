"""What the notebooks' hidden answers say is so."""

import dataclasses

import numpy as np
import pytest
from qiskit.quantum_info import SparsePauliOp

from qhybrid.diffusion.bits import von_neumann
from qhybrid.quantum import build_spec, diagnose, published_spec
from qhybrid.quantum.circuits.ansatz import benchmark_spec


def test_weights_outside_the_light_cone_of_a_single_output_are_dead():
    spec = build_spec("ry_rz_ladder", num_qubits=6, num_layers=3)
    assert diagnose(spec).dead == ()
    for qubit, dead in ((0, 24), (5, 0)):
        label = "".join("Z" if place == qubit else "I" for place in reversed(range(6)))
        alone = dataclasses.replace(spec, observables=(SparsePauliOp(label),))
        assert len(diagnose(alone).dead) == dead, qubit


def test_rotations_about_z_behind_the_last_ry_are_dead_and_all_else_lives():
    spec = benchmark_spec(4)
    assert diagnose(spec).dead == tuple(parameter.name for parameter in spec.weights[-4:])


def test_the_published_circuit_lives_in_another_basis():
    spec = published_spec(num_qubits=4, num_layers=3)
    assert len(diagnose(spec).dead) == len(spec.weights)
    x = tuple(SparsePauliOp("I" * (3 - i) + "X" + "I" * i) for i in range(4))
    assert diagnose(dataclasses.replace(spec, observables=x)).dead == ()
    turned = spec.circuit.copy()
    turned.h(range(4))
    assert diagnose(dataclasses.replace(spec, circuit=turned)).dead == ()


def test_von_neumann_takes_one_over_p_q_raw_bits_for_a_bit():
    raw = (np.random.default_rng(0).random(1_000_000) < 0.4).astype(np.uint8)
    assert len(raw) / len(von_neumann(raw)) == pytest.approx(1 / (0.4 * 0.6), rel=0.01)
