"""Noise: banks with their records, and noise models."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from fuzzing import damaged, inputs, json_file, survives
from hypothesis import given
from hypothesis import strategies as st

from qhybrid.diffusion.bank import Bank, BankRecord, check_numbers, locked_record, write_bank
from qhybrid.files import read_npz
from qhybrid.quantum.devices.calibration import read_calibration, save_calibration
from qhybrid.quantum.noise.files import load_noise_model, noise_model_to_json

LAWS = {
    "quantum_bits": ((600,), {"resolution": 12}),
    "quantum_intrinsic": (
        (150, 4),
        {"shots": 64, "patch": [2, 2], "mean": [0.0] * 4, "deviation": [1.0] * 4, "covariance": np.eye(4).tolist()},
    ),
}


@pytest.fixture(scope="module", params=sorted(LAWS))
def bank(request, tmp_path_factory):
    shape, law = LAWS[request.param]
    path = tmp_path_factory.mktemp("bank") / "bank.npz"
    numbers = np.random.default_rng(0).integers(0, 4096, shape)
    write_bank(path, BankRecord("b", request.param, shape, law, {"backend": "aer"}, ""), [numbers])
    return path


def use(path):
    bank = Bank(path)
    check_numbers(path)
    bank.normals(0, min(64, bank.record.numbers))
    assert bank.patch
    assert bank.record.unit
    with locked_record(path) as record:
        assert record.uses >= 0


@inputs(250, 20)
@given(data=st.data())
def test_bank_bytes(data, bank, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(data.draw(damaged(bank.read_bytes())))
    path.with_suffix(".json").write_bytes(bank.with_suffix(".json").read_bytes())
    survives("bank", lambda: use(path))


@pytest.mark.parametrize("wrong", [b")", b"[", b"}", b"'", b"\\", b"#"])
def test_headers_that_python_cannot_tokenize(bank, tmp_path, wrong):
    content = bank.read_bytes()
    assert b"'shape': (" in content
    path = tmp_path / "header.npz"
    path.write_bytes(content.replace(b"'shape': (", b"'shape': " + wrong))
    path.with_suffix(".json").write_bytes(bank.with_suffix(".json").read_bytes())
    assert not survives("bank", lambda: use(path))
    with zipfile.ZipFile(path) as archive:
        (member,) = archive.namelist()
    assert not survives("bank", lambda: read_npz(path, [member.removesuffix(".npy")]))


@inputs(250, 20)
@given(data=st.data())
def test_bank_records(data, bank, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "recorded.npz"
    path.write_bytes(bank.read_bytes())
    content = bank.with_suffix(".json").read_bytes()
    record = json.loads(content)
    record["drawn"] = {"a": 5}
    new = data.draw(json_file(content, record))
    path.with_suffix(".json").write_bytes(new)
    survives("bank record", lambda: use(path))


@pytest.fixture(scope="module")
def models():
    from qiskit_aer.noise import NoiseModel, ReadoutError, amplitude_damping_error, depolarizing_error

    model = NoiseModel(basis_gates=["rx", "cx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 1), "rx")
    model.add_quantum_error(amplitude_damping_error(0.1), "rx", [0])
    model.add_readout_error(ReadoutError([[0.9, 0.1], [0.2, 0.8]]), [0])
    return noise_model_to_json(model)


@inputs(300, 20)
@given(data=st.data())
def test_noise_models(data, models, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "model.json"
    content = json.dumps(models).encode()
    new = data.draw(json_file(content, models))
    path.write_bytes(new)
    survives("noise model", lambda: load_noise_model(path))


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    path = tmp_path_factory.mktemp("calibration") / "calibration.json"
    save_calibration(FakeManilaV2(), path, "2024-01-01")
    return path.read_bytes()


@inputs(300, 20)
@given(data=st.data())
def test_calibrations(data, calibration, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "calibration.json"
    tree = json.loads(calibration)
    new = data.draw(json_file(calibration, tree))
    path.write_bytes(new)
    survives("calibration", lambda: read_calibration(path))


def test_what_is_damaged_was_whole(bank, models, calibration, tmp_path):
    use(bank)
    (tmp_path / "model.json").write_text(json.dumps(models))
    load_noise_model(tmp_path / "model.json")
    (tmp_path / "calibration.json").write_bytes(calibration)
    assert read_calibration(tmp_path / "calibration.json").num_qubits == 5
