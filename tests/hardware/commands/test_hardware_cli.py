"""`qhybrid hardware ...` as a user calls it."""

import json
from pathlib import Path

import pytest

from qhybrid.files import read_json
from qhybrid.rundir import RunDirectory

SMALL = ("--backend", "fake_manila", "--images", "2", "--steps", "3", "--shots", "64", "--qpu-steps", "0,2")


def test_infer_status_and_compare(command, run: RunDirectory) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = command("infer", run.path, *SMALL)
    assert code == 0
    assert "simulating qubits" in out
    assert "device against exact" in out
    assert (run.hardware / "images.npz").exists()
    code, out, _ = command("status", run.path, "--json")
    assert (code, json.loads(out)["finished"]) == (0, True)
    code, out, _ = command("compare", run.path, "--json")
    assert (code, json.loads(out)) == (0, read_json(run.hardware / "comparison.json"))


def test_plan_prints_and_writes_the_same(command, run: RunDirectory) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = command("plan", run.path, *SMALL, "--json")
    assert code == 0
    assert json.loads(out) == read_json(run.hardware / "plan.json")
    code, out, _ = command("plan", run.path, *SMALL)
    assert "ibm_manila" in out
    assert "256" in out  # executions: 2 steps of 2 images and 64 shots
    assert all(f"level {level}" in out for level in (0, 1, 2))
    code, out, _ = command("plan", run.path, *SMALL, "--backend", "fake_torino", "--pack", "2", "--qpu-steps", "0-2")
    assert "192" in out  # 3 steps of one repetition
    assert "Side by side" in out


def test_submit_and_fetch_take_the_options_of_the_plan(command, run: RunDirectory) -> None:  # type: ignore[no-untyped-def]
    assert command("plan", run.path, *SMALL)[0] == 0
    code, out, _ = command("submit", run.path)
    assert code == 0
    assert "2 of 3 steps done" in out
    code, out, _ = command("submit", run.path, "--json")
    assert json.loads(out)["finished"]
    code, out, _ = command("fetch", run.path)
    assert "3 of 3 steps done" in out


def test_transpile_lists_candidates(command, run: RunDirectory) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = command("transpile", run.path, "--backend", "fake_torino", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["score"] == max(row["score"] for row in report["candidates"])
    code, out, _ = command("transpile", run.path, "--backend", "fake_torino")
    assert "embedding 1 of" in out
    assert (run.hardware / "layout.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--budget-seconds", "0"), ("budget_seconds 0 ", " s of device time")),
        (("--budget-seconds", "1"), ("budget_seconds 1 ", " s of device time")),
        (("--budget-seconds", "inf"), ("--budget-seconds inf", "finite", "leave it out")),
        (("--budget-seconds", "nan"), ("--budget-seconds nan", "finite", "leave it out")),
        (("--budget-seconds=-inf",), ("--budget-seconds -inf", "finite")),
        (("--level", "2", "--zne-factors", "1,3,inf"), ("zne_factors", "inf")),
        (("--level", "2", "--zne-factors", "1,3,nan"), ("zne_factors", "nan")),
        # Folding to so many gates would not end.
        (("--level", "2", "--zne-factors", "1,2,1e9"), ("zne_factors", "1000000000", "50")),
        (("--level", "2", "--zne-factors", "1,2,51"), ("zne_factors", "51", "50")),
        (("--backend", "fake_manil"), ("`fake_manil`", "fake_manila")),
        (("--qpu-steps", "7"), ("qpu_steps [7]", "0 to 2")),
        (("--qpu-steps", "2-1"), ("the range 2-1 runs backwards: write 1-2",)),
        (("--qpu-steps", "some"), ("`some`", "auto")),
        (("--level", "3"), ("hardware.level", "3")),
        (("--pack", "0"), ("hardware.pack", "0")),
        (("--pack", "some"), ("--pack `some`", "auto")),
        (("--primitive", "sampler", "--level", "1"), ("level", "sampler")),
        (("--shots", "0"), ("hardware.shots", "0")),
        (("--mode", "boat"), ("hardware.mode", "boat")),
    ],
)
@pytest.mark.parametrize("name", ["plan", "infer"])
def test_bad_input_ends_with_code_2_one_line_and_no_files(  # type: ignore[no-untyped-def]
    command, run: RunDirectory, name: str, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    code, out, err = command(name, run.path, *SMALL, *options)
    assert code == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    for word in words:
        assert word in err
    assert not run.hardware.exists()


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1"])
def test_a_time_to_wait_that_is_none_is_refused(command, run: RunDirectory, seconds: str) -> None:  # type: ignore[no-untyped-def]
    code, out, err = command("infer", run.path, *SMALL, "--wait-seconds", seconds)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"--wait-seconds {seconds}" in err
    assert not run.hardware.exists()


def test_backends_lists_whole_names_in_a_narrow_terminal() -> None:
    from rich.console import Console

    from hardware.commands.tables import backends_table
    from hardware.service.backends import describe_backend, open_backend

    names = ("aer", "fake_johannesburg", "fake_torino")
    console = Console(width=80)
    with console.capture() as capture:
        console.print(backends_table([describe_backend(name, open_backend(name)) for name in names]))
    assert all(name in capture.get() for name in names)
    assert "seconds left" not in capture.get()


def test_backends_of_an_account_are_listed_with_plan_and_seconds_left() -> None:
    from rich.console import Console

    from hardware.commands.tables import backends_table
    from hardware.service.backends import BackendRow

    row = BackendRow("ibm_torino", 133, ("cz",), 0.004, 0.02, "2026-01-01", 12, plan="open", seconds_left=431.2)
    console = Console(width=120)
    with console.capture() as capture:
        console.print(backends_table([row]))
    assert all(text in capture.get() for text in ("seconds left", "open", "431", "12"))


def test_no_run_directory_is_said(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, _, err = command("infer", tmp_path)
    assert code == 2
    assert "not a run directory" in err
