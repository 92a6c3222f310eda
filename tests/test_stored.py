"""What is read back from files: damaged content is one line of this project's own, not a traceback or a wrong value."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from hardware.errors import HardwareError
from hardware.inference.reverse_process import ReverseState
from hardware.jobs.job_log import JobLog, ResultStore, Work
from hardware.planning.bill import Plan
from qhybrid.data.idx import read_idx
from qhybrid.diffusion.bank import Bank, BankRecord, write_bank
from qhybrid.diffusion.errors import NoiseError
from qhybrid.errors import CircuitError, ConfigError, RunDirectoryError
from qhybrid.files import DamagedFileError
from qhybrid.quantum.devices.calibration import read_calibration
from qhybrid.quantum.noise.files import load_noise_model
from qhybrid.rundir import RunDirectory
from qhybrid.stored import from_json


@dataclass(frozen=True)
class Stored:
    count: int
    places: tuple[tuple[int, float | None], ...]
    name: str = "x"


def test_fields_are_checked_against_their_types():
    assert from_json(Stored, {"count": 1, "places": [[2, None], [3, 1]]}) == Stored(1, ((2, None), (3, 1.0)))
    for values, named in [
        ({"count": "1", "places": []}, "`count`"),
        ({"count": True, "places": []}, "`count`"),
        ({"count": 1.5, "places": []}, "`count`"),
        ({"count": 1, "places": [[2, "x"]]}, "`places.0.1`"),
        ({"count": 1, "places": [[2, float("nan")]]}, "JSON"),
        ({"places": []}, "`count`"),
        ({"count": 1, "places": [], "more": 1}, "`more`"),
        ([1], "mapping"),
        (None, "mapping"),
    ]:
        with pytest.raises(DamagedFileError) as caught:
            from_json(Stored, values)
        assert named in str(caught.value), (values, str(caught.value))


def test_a_message_is_one_line_whatever_it_quotes():
    assert str(ConfigError("--set `a=\n\tb\u2028c` is wrong")) == "--set `a= \tb c` is wrong"


@pytest.mark.parametrize("content", [[], "x", {}, {"backend": 3}])
def test_a_plan_of_other_content_is_refused(content):
    with pytest.raises(HardwareError, match=r"plan\.json does not fit"):
        Plan.from_dict(content)


def test_lines_of_the_job_log_that_are_no_events_tell_nothing(tmp_path):
    path = tmp_path / "jobs.jsonl"
    whole = {"job": "j", "content": "c", "plan": "k", "step": 0, "part": 0}
    rows = [
        {"event": "submitted", **whole, "seconds": 2.0, "calibrated": None},
        *(3, None, [], {}, {"event": None}, {"event": []}, {"event": "done"}),
        {"event": "submitted", **whole, "seconds": "much", "calibrated": None},
        {"event": "submitted", **whole, "seconds": float("nan"), "calibrated": None},
        {"event": "done", **whole, "step": None, "charged": 1.0, "file": "f"},
        {"event": "opened", "mode": "batch", "session": "s"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "[" * 100_000 + "\n")
    log = JobLog(path)
    assert log.open_job("c") == "j"
    assert log.seconds_spent("k", local=True) == 2.0
    assert log.results("k") == []
    assert [row["event"] for row in log.rows()] == ["submitted", "opened"]


def test_a_result_of_another_shape_is_refused(tmp_path):
    work = Work(0, 0, np.zeros((3, 2)), "c" * 64, 1)
    store = ResultStore(tmp_path)
    arrays = {"angles": work.angles, "content": np.array(work.content), "provenance": np.array("{}")}
    for values, errors in [(np.zeros((2, 2)), np.zeros((2, 2))), (np.zeros((3, 2)), np.zeros((3, 1)))]:
        np.savez(store.path(work), values=values, errors=errors, **arrays)
        with pytest.raises(HardwareError, match="no result of a job"):
            store.load(work)


def test_a_state_of_another_shape_is_refused(tmp_path):
    path = tmp_path / "state.npz"
    for step, images in [(np.array(-1), np.zeros((3, 1, 8, 8), np.float32)), (np.array(1), np.zeros((3, 8)))]:
        np.savez(path, step=step, images=images, key=np.array("k"))
        with pytest.raises(HardwareError, match="no state"):
            ReverseState.load(path, "k")


def test_damaged_records_of_a_run_are_refused(tmp_path):
    run = RunDirectory(tmp_path)
    for inputs in ({"data": {"path": 5, "sha256": "x"}}, {"other": {"path": None, "sha256": "x"}}, [], {"data": None}):
        run.meta_file.write_text(json.dumps({"inputs": inputs}))
        with pytest.raises(RunDirectoryError, match="damaged"):
            run.inputs()


def test_a_bank_of_more_bits_than_its_record_says_is_refused(tmp_path):
    path = tmp_path / "bank.npz"
    record = BankRecord("b", "quantum_bits", (64,), {"resolution": 8}, {}, "")
    write_bank(path, record, [np.full(64, 300)])
    with pytest.raises(NoiseError, match="more than 8 bits"):
        Bank(path).normals(0, 64)
    for law in ({"resolution": 70}, {"resolution": "8"}, {"resolution": None}, {}):
        content = json.loads(path.with_suffix(".json").read_text()) | {"law": law}
        path.with_suffix(".json").write_text(json.dumps(content))
        with pytest.raises(NoiseError, match="not the record"):
            Bank(path)


def test_an_idx_header_of_no_images_of_endless_size_is_read(tmp_path):
    (tmp_path / "file").write_bytes(bytes((0, 0, 8, 3)) + bytes(4) + b"\xff" * 8)
    assert len(read_idx(tmp_path / "file", 3)) == 0


def test_noise_models_and_calibrations_that_are_damaged_are_refused(tmp_path):
    path = tmp_path / "file.json"
    path.write_text("[" * 100_000)
    with pytest.raises(CircuitError, match="noise model"):
        load_noise_model(path)
    content = {
        "format": "qhybrid calibration 1",
        "name": "x",
        "calibrated": None,
        "num_qubits": 2,
        "dt": 1e-9,
        "qubits": [[1e-4, 1e-4, 5e9]] * 2,
        "instructions": {"x": [[[0], 1e-8, 0.1]]},
    }
    path.write_text(json.dumps(content))
    assert read_calibration(path).num_qubits == 2
    for change in (
        {"qubits": 3},
        {"num_qubits": 10**12},
        {"instructions": {"what": []}},
        {"instructions": {"x": [[[5], None, None]]}},
        {"instructions": {"x": [[[0], None, 2.0]]}},
        {"dt": -1.0},
    ):
        path.write_text(json.dumps(content | change))
        with pytest.raises(CircuitError, match="is damaged"):
            read_calibration(path)
