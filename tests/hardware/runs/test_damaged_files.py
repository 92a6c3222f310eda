"""What lies in a run's `hardware/` folder, damaged or of another kind: one line that names the file, exit code 2."""

import json

import pytest

from qhybrid.files import write_json
from qhybrid.rundir import RunDirectory

SMALL = ("--backend", "fake_manila", "--images", "2", "--steps", "2", "--shots", "16", "--qpu-steps", "0")
FOREIGN = ("[]", "null", "{", "", '{"x": 1}')


def refused(command, path, *arguments) -> None:  # type: ignore[no-untyped-def]
    code, out, err = command(*arguments)
    assert (code, out) == (2, ""), (path.read_text()[:20], arguments, err)
    assert len(err.splitlines()) == 1
    assert str(path) in err, err


@pytest.fixture
def planned(command, run: RunDirectory) -> RunDirectory:  # type: ignore[no-untyped-def]
    assert command("plan", run.path, *SMALL)[0] == 0
    return run


def test_a_damaged_plan_stops_every_command(command, planned: RunDirectory) -> None:  # type: ignore[no-untyped-def]
    path = planned.hardware / "plan.json"
    for content in FOREIGN:
        path.write_text(content)
        for name in ("submit", "fetch", "status", "compare"):
            refused(command, path, name, planned.path)
    refused(command, path, "infer", planned.path, "--resume", *SMALL)
    refused(command, path, "plan", planned.path, *SMALL)


def test_a_damaged_budget_stops_every_command(command, planned: RunDirectory) -> None:  # type: ignore[no-untyped-def]
    path = planned.hardware / "budget.json"
    for content in (*FOREIGN, '{"seconds": null}', '{"seconds": "5"}', '{"seconds": NaN}', '{"seconds": true}'):
        path.write_text(content)
        for arguments in (("plan", planned.path, *SMALL), ("submit", planned.path), ("infer", planned.path, *SMALL)):
            refused(command, path, *arguments)


def test_a_damaged_circuit_stops_every_command_that_needs_it(command, planned: RunDirectory) -> None:  # type: ignore[no-untyped-def]
    path = planned.hardware / "transpiled.json"
    whole = json.loads(path.read_text())
    for content in (*FOREIGN, json.dumps({**whole, "layout": ["x"]}), json.dumps({"spec": whole["spec"]})):
        path.write_text(content)
        for arguments in (("submit", planned.path), ("fetch", planned.path)):
            refused(command, path, *arguments)


def test_damaged_files_of_a_finished_run_stop_its_comparison(command, run: RunDirectory) -> None:  # type: ignore[no-untyped-def]
    assert command("infer", run.path, *SMALL)[0] == 0
    found = json.loads((run.hardware / "comparison.json").read_text())
    for name in ("comparison.json", "noise_model.json"):
        path = run.hardware / name
        whole = path.read_text()
        for content in ("[]", "{"):
            path.write_text(content)
            refused(command, path, "compare", run.path)
        path.write_text(whole)
    write_json(run.hardware / "comparison.json", {"plan": found["plan"], "variants": 3})
    refused(command, run.hardware / "comparison.json", "compare", run.path)
    (run.hardware / "comparison.json").unlink()
    for content in ("[]", "{", '{"features": {"hash": "x", "accuracy": 1.0}}'):
        run.evaluation_file.write_text(content)
        refused(command, run.evaluation_file, "compare", run.path)
    # A data set of that name has no classifier here: there is none to compare by.
    write_json(run.evaluation_file, {"features": {"hash": "x", "accuracy": 1.0, "dataset": "/**/x"}})
    assert command("compare", run.path)[0] == 0


def test_a_damaged_plan_of_a_bank_is_named(command, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "bank.hardware" / "plan.json"
    path.parent.mkdir()
    for content in FOREIGN:
        path.write_text(content)
        arguments = ("--backend", "fake_manila", "--normals", "64", "--out", tmp_path / "bank.npz", "--resume", "--yes")
        refused(command, path, "noise", *arguments)
