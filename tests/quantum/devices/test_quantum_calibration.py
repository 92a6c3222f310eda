"""A device's calibration survives as a file."""

from pathlib import Path

import numpy as np
import pytest

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.ansatz import benchmark_spec
from qhybrid.quantum.devices.calibration import read_calibration, save_calibration
from qhybrid.quantum.devices.embedding import embeddings
from qhybrid.quantum.devices.snapshots import crop, noise_model, snapshot


def test_a_saved_device_places_circuits_and_makes_noise_like_the_device(tmp_path: Path) -> None:
    device = snapshot("fake_torino")
    save_calibration(device, tmp_path / "calibration.json", "2026-01-02T03:04:05")
    saved = snapshot(str(tmp_path / "calibration.json"))
    assert (saved.name, saved.num_qubits, saved.calibrated) == ("fake_torino", 133, "2026-01-02T03:04:05")
    circuit = benchmark_spec(4).circuit
    first = embeddings(circuit, device)[0]
    assert embeddings(circuit, saved)[0] == first

    models = [noise_model(crop(backend, first.qubits)) for backend in (device, saved)]
    errors = [model.to_dict(serializable=True)["errors"] for model in models]
    assert [(item["operations"], item["gate_qubits"]) for item in errors[0]] == [
        (item["operations"], item["gate_qubits"]) for item in errors[1]
    ]
    for one, other in zip(*errors, strict=True):
        np.testing.assert_allclose(np.ravel(one["probabilities"]), np.ravel(other["probabilities"]))
    np.testing.assert_allclose(
        [item.t1 for item in saved.target.qubit_properties], [item.t1 for item in device.target.qubit_properties]
    )


@pytest.mark.parametrize("content", [None, "{}", "[1]", "no json"])
def test_what_is_no_calibration_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "calibration.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CircuitError, match=r"calibration\.json"):
        read_calibration(path)
