"""Backends by name, and what is said where there is none."""

from pathlib import Path

import pytest
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.accounts import management
from qiskit_ibm_runtime.exceptions import IBMApiError

from hardware.errors import BackendError
from hardware.service import local_devices
from hardware.service.account import is_local
from hardware.service.backends import describe_backend, device_name, local_names, open_backend, rep_delay


@pytest.fixture
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TOKEN", "URL", "INSTANCE", "CHANNEL"):
        monkeypatch.delenv(f"QISKIT_IBM_{name}", raising=False)
    monkeypatch.setattr(management, "_DEFAULT_ACCOUNT_CONFIG_JSON_FILE", str(tmp_path / "qiskit-ibm.json"))


@pytest.mark.parametrize(("name", "qubits"), [("fake_manila", 5), ("fake_torino", 133)])
def test_local_copies_open_by_name(name: str, qubits: int) -> None:
    backend = open_backend(name)
    assert backend.num_qubits == qubits
    assert is_local(backend)
    assert device_name(backend) == name.replace("fake", "ibm")


def test_aer_is_an_ideal_simulator_of_any_circuit() -> None:
    backend = open_backend("aer")
    assert backend.coupling_map is None
    assert is_local(backend)
    assert rep_delay(backend) == 250e-6


def test_the_repetition_delay_is_the_devices_own() -> None:
    assert rep_delay(open_backend("fake_kolkata")) == pytest.approx(100e-6)


def test_an_unknown_copy_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(BackendError, match=r"`fake_torin`.*fake_torino"):
        open_backend("fake_torin")


@pytest.mark.usefixtures("no_account")
def test_a_device_without_an_account_says_how_to_save_one() -> None:
    with pytest.raises(BackendError, match=r"`ibm_torino`.*no IBM Quantum account.*save_account.*QISKIT_IBM_TOKEN"):
        open_backend("ibm_torino")


@pytest.mark.usefixtures("no_account")
def test_a_token_never_reaches_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    token = "t0ken-t0ken-t0ken"
    monkeypatch.setenv("QISKIT_IBM_TOKEN", token)

    def refuse(self: QiskitRuntimeService) -> None:
        raise IBMApiError(f"apikey={token} is not valid")

    monkeypatch.setattr(QiskitRuntimeService, "__init__", refuse)
    with pytest.raises(BackendError, match="not valid") as caught:
        open_backend("ibm_torino")
    assert token not in str(caught.value)


def test_a_description_holds_basis_and_median_errors() -> None:
    row = describe_backend("fake_manila", open_backend("fake_manila"))
    assert (row.qubits, row.basis, row.queue) == (5, ("cx", "id", "rz", "sx", "x"), None)
    assert 0.001 < row.two_qubit_error < 0.05
    assert 0.005 < row.readout_error < 0.1
    assert row.calibrated.startswith("20")


def test_local_names_all_begin_alike() -> None:
    names = local_names()
    assert names[0] == "aer"
    assert len(names) > 60
    assert all(name.startswith("fake_") for name in names[1:])


@pytest.mark.parametrize("damage", ["", "{}", "[1, 2]", '[{"name": "aer"}]'])
def test_rows_of_local_copies_are_kept_and_a_damaged_cache_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setenv("QHYBRID_CACHE", str(tmp_path))
    monkeypatch.setattr(local_devices, "local_names", lambda: ["aer", "fake_manila"])
    expected = [describe_backend(name, open_backend(name)) for name in ("aer", "fake_manila")]
    assert local_devices.local_rows() == expected
    with monkeypatch.context() as patch:
        # Now nothing is opened.
        patch.delattr(local_devices, "open_backend")
        assert local_devices.local_rows() == expected
    (kept,) = (tmp_path / "devices").iterdir()
    kept.write_text(damage)
    assert local_devices.local_rows() == expected
    # Another set of devices is another file.
    monkeypatch.setattr(local_devices, "local_names", lambda: ["aer"])
    assert local_devices.local_rows() == expected[:1]
