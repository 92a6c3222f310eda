"""Snapshots by name, and parts of them that keep the device's calibration."""

import pytest
from qiskit import QuantumCircuit

from qhybrid.errors import CircuitError
from qhybrid.quantum.devices.snapshots import crop, noise_model, snapshot, snapshot_names


@pytest.mark.parametrize(("name", "qubits"), [("fake_torino", 133), ("fake_manila", 5), ("fake_marrakesh", 156)])
def test_a_snapshot_is_found_by_its_name(name: str, qubits: int) -> None:
    assert name in snapshot_names()
    assert snapshot(name).name == name
    assert snapshot(name).num_qubits == qubits


def test_an_unknown_snapshot_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(CircuitError, match=r"`fake_torini`.*fake_torino"):
        snapshot("fake_torini")


def test_crop_keeps_errors_durations_and_couplings_in_the_given_order() -> None:
    device = snapshot("fake_torino")
    qubits = [92, 80, 81, 99]  # 81 - 80 - 92 - 99 is a line, and the order is not its order
    part = crop(device, qubits)

    assert part.num_qubits == 4
    assert part.physical_qubits == tuple(qubits)
    assert part.dt == device.dt
    assert {frozenset(edge) for edge in part.coupling_map.get_edges()} == {
        frozenset({0, 1}),
        frozenset({1, 2}),
        frozenset({0, 3}),
    }
    for new, old in enumerate(qubits):
        for name in ("measure", "sx", "rz"):
            assert part.target[name][(new,)].error == device.target[name][(old,)].error
            assert part.target[name][(new,)].duration == device.target[name][(old,)].duration
        assert part.target.qubit_properties[new].t1 == device.target.qubit_properties[old].t1
        assert part.target.qubit_properties[new].t2 == device.target.qubit_properties[old].t2
    for pair in part.target["cz"]:
        there = (qubits[pair[0]], qubits[pair[1]])
        assert part.target["cz"][pair].error == device.target["cz"][there].error
        assert part.target["cz"][pair].duration == device.target["cz"][there].duration
    assert part.target.operation_names == device.target.operation_names


def test_a_crop_of_a_crop_knows_the_numbers_on_the_whole_device() -> None:
    part = crop(crop(snapshot("fake_torino"), [10, 11, 12]), [2, 0])
    assert part.physical_qubits == (12, 10)
    assert part.device_name == "fake_torino"


def test_crop_leaves_the_device_as_it_was() -> None:
    device = snapshot("fake_manila")
    part = crop(device, [0, 1])
    part.target["measure"][(0,)].error = 0.25
    assert device.target["measure"][(0,)].error == snapshot("fake_manila").target["measure"][(0,)].error


@pytest.mark.parametrize(
    ("qubits", "message"), [([], "at least one"), ([1, 1], "once"), ([0, 5], r"0 to 4, not \[5\]")]
)
def test_an_impossible_part_is_refused(qubits: list[int], message: str) -> None:
    with pytest.raises(CircuitError, match=message):
        crop(snapshot("fake_manila"), qubits)


def test_the_noise_model_of_a_part_holds_its_readout_errors() -> None:
    device = snapshot("fake_manila")
    model = noise_model(crop(device, [3, 1]))
    for new, old in enumerate([3, 1]):
        flip = model._local_readout_errors[(new,)].probabilities[0][1]
        assert flip == pytest.approx(device.target["measure"][(old,)].error)


def test_a_part_runs_circuits_with_its_noise() -> None:
    part = crop(snapshot("fake_torino"), [0])  # its readout is wrong in one case of six
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    counts = part.run(circuit, shots=4000, seed_simulator=1).result().get_counts()
    assert counts["1"] / 4000 == pytest.approx(0.167, abs=0.02)


def test_a_small_part_is_simulated_by_its_density_matrix_whatever_the_shots() -> None:
    device = snapshot("fake_torino")
    circuit = QuantumCircuit(6)
    circuit.sx(range(6))
    circuit.measure_all()
    # With so few shots Aer would go through them one by one.
    result = crop(device, range(6)).run(circuit, shots=8, seed_simulator=1).result()
    assert result.results[0].metadata["method"] == "density_matrix"
    assert crop(device, range(9)).simulator.options.method == "automatic"
