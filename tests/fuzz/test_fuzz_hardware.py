"""What stands in `hardware/`: plans, job records, results, states and transpiled circuits."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from fuzzing import ODD, altered, as_json, damaged, inputs, json_file, survives
from hypothesis import given
from hypothesis import strategies as st

from hardware.inference.reverse_process import ReverseState
from hardware.inference.workload import load_workload
from hardware.jobs.job_log import JobLog, ResultStore, Work, read_result
from hardware.noise.plan import NoisePlan
from hardware.placement.transpilation import Transpiled
from hardware.planning.bill import Plan
from hardware.runs.status import status

JOB = {"job": "j", "content": "c", "plan": "k", "step": 0, "part": 0}
ROWS = [
    {"event": "opened", "session": "s", "plan": "k"},
    {"event": "submitted", **JOB, "tags": ["a"], "seconds": 1.5, "calibrated": None, "file": "x.npz"},
    {"event": "refused", "job": "j", "content": "c", "reason": "r"},
    {"event": "twin", "job": "i", "content": "c"},
    {"event": "done", **JOB, "charged": 2.0, "file": "x.npz"},
    {"event": "failed", **JOB, "charged": None},
    {"event": "reused", "content": "c", "plan": "k", "step": 0, "part": 1, "file": "x.npz"},
    {"event": "closed", "session": "s"},
]


@inputs(500, 25)
@given(data=st.data())
def test_plans(data, planned, planned_place):
    content = (planned.hardware / "plan.json").read_bytes()
    new = data.draw(json_file(content, json.loads(content)))
    (planned_place.hardware / "plan.json").write_bytes(new)
    survives("plan.json", lambda: load_workload(planned_place))


@pytest.mark.parametrize(
    "content", ["null", "3", "[]", '"x"', '{"jobs_per_step": 1}', '{"jobs_per_step": 1, "qpu_steps": 3}']
)
def test_plans_that_are_none(planned_place, content):
    (planned_place.hardware / "plan.json").write_text(content)
    assert not survives("plan.json", lambda: load_workload(planned_place))


@inputs(200, 20)
@given(tree=altered(
    {"backend": "aer", "device": "aer", "source": "quantum_bits", "normals": 10, "qubits": [0, 1], "device_qubits": 2,
     "patch": [1, 1], "mode": "job", "jobs": 1, "repeats": 1, "shots": 10, "executions": 10, "seconds": 1.0,
     "yield_per_execution": 1.0, "budget_seconds": None, "open_plan_share": 0.1, "remaining_seconds": None,
     "quota_share": None, "calibrated": None, "draw": "x", "config": {}, "key": "k"}))  # fmt: skip
def test_plans_of_banks(tree):
    survives("bank plan", lambda: NoisePlan.from_dict(tree).size)


@inputs(300, 20)
@given(data=st.data())
def test_plans_alone(data, planned):
    tree = data.draw(altered(json.loads((planned.hardware / "plan.json").read_text())))
    survives("plan", lambda: Plan.from_dict(tree).summary())


@inputs(600, 60)
@given(data=st.data())
def test_job_records(data, tmp_path_factory):
    lines = [
        as_json(data.draw(altered(row)) if data.draw(st.booleans()) else row)
        if data.draw(st.integers(0, 9))
        else as_json(data.draw(st.sampled_from(ODD)))
        for row in ROWS
    ]
    content = ("\n".join(lines) + "\n").encode()
    path = tmp_path_factory.getbasetemp() / "jobs.jsonl"
    path.write_bytes(data.draw(damaged(content)) if data.draw(st.integers(0, 2)) == 0 else content)

    def read() -> None:
        log = JobLog(path)
        log.open_job("c")
        log.given_up("c")
        log.refused("c")
        log.calibration("k")
        log.seconds_spent("k", local=False)
        log.seconds_spent("k", local=True)
        log.uncharged("k")
        log.seconds_spent("k", local=True)
        log.seconds_spent("k", local=False)
        log.results("k")

    survives("jobs.jsonl", read)


@inputs(100, 6)
@given(data=st.data())
def test_status(data, planned, planned_place):
    key = json.loads((planned.hardware / "plan.json").read_text())["key"]
    rows = [{**row, "plan": key} if "plan" in row else row for row in ROWS]
    lines = [as_json(data.draw(altered(row))) for row in rows]
    (planned_place.hardware / "jobs.jsonl").write_text("\n".join(lines) + "\n")
    survives("status", lambda: status(planned_place))


def arrays_of(data, valid):
    arrays = dict(valid)
    name = data.draw(st.sampled_from(sorted(arrays)))
    value = arrays[name]
    odd = [value[..., None], value.ravel()[:0], np.array(3), np.array("x"), value.astype("U8"), np.full((2, 2), np.nan)]
    arrays[name] = data.draw(st.sampled_from(range(len(odd))).map(odd.__getitem__))
    return arrays


@inputs(400, 40)
@given(data=st.data())
def test_results(data, tmp_path_factory):
    work = Work(0, 0, np.zeros((3, 2)), "c" * 64, 1)
    valid = {
        "angles": work.angles,
        "values": np.zeros((3, 2)),
        "errors": np.ones((3, 2)),
        "content": np.array(work.content),
        "provenance": np.array("{}"),
    }
    stream = io.BytesIO()
    np.savez(stream, **(arrays_of(data, valid) if data.draw(st.booleans()) else valid))
    store = ResultStore(tmp_path_factory.getbasetemp())
    content = stream.getvalue()
    store.path(work).write_bytes(data.draw(damaged(content)) if data.draw(st.booleans()) else content)

    def read() -> None:
        found = store.load(work)
        assert found is not None
        assert found.values.shape == found.errors.shape
        assert len(found.values) == 3
        json.loads(str(read_result(store.path(work))["provenance"]))

    survives("result", read)


@pytest.mark.parametrize("provenance", ["x", "", "[" * 100_000])
def test_a_result_whose_origin_is_no_json(tmp_path, provenance):
    work, values = Work(0, 0, np.zeros((3, 2)), "c" * 64, 1), np.zeros((3, 2))
    path = tmp_path / "result.npz"
    np.savez(path, angles=work.angles, values=values, errors=values, content=work.content, provenance=provenance)
    assert not survives("result", lambda: read_result(path))


@inputs(300, 30)
@given(data=st.data())
def test_states(data, tmp_path_factory):
    valid = {
        "step": np.array(1),
        "images": np.zeros((3, 1, 8, 8), np.float32),
        "key": np.array("k"),
        "angles": np.zeros((3, 2)),
    }
    stream = io.BytesIO()
    np.savez(stream, **(arrays_of(data, valid) if data.draw(st.booleans()) else valid))
    path = tmp_path_factory.getbasetemp() / "state.npz"
    content = stream.getvalue()
    path.write_bytes(data.draw(damaged(content)) if data.draw(st.booleans()) else content)

    def read() -> None:
        state = ReverseState.load(path, "k")
        assert state is None or (
            state.step >= 0 and state.images.shape[1:] == (1, 8, 8) and state.images.dtype == np.float32
        )

    survives("state", read)


@inputs(300, 15)
@given(data=st.data())
def test_transpiled(data, planned, planned_place):
    name = data.draw(st.sampled_from(["isa.qpy", "transpiled.json"]))
    content = (planned.hardware / name).read_bytes()
    if name == "isa.qpy" or data.draw(st.booleans()):
        new = data.draw(damaged(content))
    else:
        new = as_json(data.draw(altered(json.loads(content)))).encode()
    for file in ("isa.qpy", "transpiled.json"):
        (planned_place.hardware / file).write_bytes((planned.hardware / file).read_bytes())
    (planned_place.hardware / name).write_bytes(new)
    survives("transpiled", lambda: Transpiled.load(planned_place.hardware))
    if data.draw(st.integers(0, 4)) == 0:
        survives("transpiled", lambda: load_workload(planned_place))


def test_what_is_damaged_was_whole(planned):
    assert load_workload(planned) is not None
