"""Image i goes to copy i mod k: one rule, and its inverse."""

import numpy as np
import pytest
from qiskit import QuantumCircuit

from hardware.errors import HardwareError
from hardware.placement.program import restricted
from hardware.placement.sharing import copy_of_each, image_rows, in_order_of_images, share


@pytest.mark.parametrize(("images", "copies"), [(7, 3), (6, 3), (2, 5), (1, 1), (8, 1)])
def test_rows_shares_and_their_inverse_follow_one_rule(images: int, copies: int) -> None:
    rows = image_rows(images, copies)
    assert rows.shape == (-(-images // copies), copies)
    for image in range(images):
        assert rows[image // copies, image % copies] == image
        assert copy_of_each(images, copies)[image] == image % copies
    assert rows.max() == images - 1
    values = np.random.default_rng(0).normal(size=(images, 2))
    parts = [share(values, copy, copies) for copy in range(copies)]
    np.testing.assert_array_equal(in_order_of_images([p for p in parts if len(p)], images, copies), values)


def test_an_instruction_that_reaches_out_of_a_part_is_refused() -> None:
    circuit = QuantumCircuit(4, global_phase=0.5)
    circuit.cx(3, 1)
    circuit.h(0)
    part = restricted(circuit, [1, 3])
    expected = QuantumCircuit(2, global_phase=0.5)
    expected.cx(1, 0)
    assert part == expected
    with pytest.raises(HardwareError, match=r"`cx` on qubits \[3, 1\].*qubits \[0, 1\]"):
        restricted(circuit, [0, 1])
