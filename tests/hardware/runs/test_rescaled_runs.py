"""Runs with learned rescaling: what is sent, what is learned, what the images get."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hardware_runs import Command, MakeRun, conditional_run
from loopback import Loopback

import hardware
from hardware.errors import HardwareError
from hardware.inference import references
from hardware.inference.affine import Measured
from hardware.inference.rescaling import learn, spread_points
from hardware.inference.workload import planned_workload
from hardware.jobs import service_jobs
from hardware.jobs.job_log import JobLog
from hardware.runs.stages import compare_run
from hardware.runs.variants import compare_variants
from qhybrid.config import HardwareConfig
from qhybrid.files import read_json
from qhybrid.rundir import RunDirectory

BLIND = {"sees": ["class", "time"]}


def options(**given: Any) -> HardwareConfig:
    return HardwareConfig(
        **{
            "backend": "ibm_manila",
            "images": 10,
            "steps": 4,
            "qpu_steps": "all",
            "shots": 64,
            "pack": 1,
            "rescale": True,
            **given,
        }
    )


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return conditional_run(tmp_path / "run", qubits=2, **BLIND)


def images(run: RunDirectory) -> np.ndarray:
    with np.load(run.hardware / "images.npz") as file:
        return file["images"]


def test_the_error_under_a_devices_noise_falls_by_more_than_half(run: RunDirectory) -> None:
    found = hardware.infer(run, options(backend="fake_torino", shots=50_000, pack=2))
    before, after = found["rescaling"]["measured_against_exact"], found["device_against_exact"]
    assert found["rescaling"]["held"]
    assert after["n"] == before["n"] == 12 * 2
    assert after["rms"] < before["rms"] / 2
    assert after["z"]["rms"] < 2
    assert before["z"]["rms"] > 3
    # Every value is rescaled by a fit to others.
    assert found["rescaling"]["rms"] == pytest.approx(after["rms"])
    # What the noise model foretells is what was measured.
    assert found["device_against_noisy"]["z"]["rms"] < 1.6


def test_a_run_whose_angles_are_known_takes_no_further_execution(service: Loopback, run: RunDirectory) -> None:
    plain = hardware.plan(run, options(rescale=False))
    hardware.infer(run, options(), yes=True)
    plan = read_json(run.hardware / "plan.json")
    assert plan["references"] == {"sets": 0, "executions": 0, "seconds": 0}
    assert [job.executions for job in service.jobs] == [plan["executions"]] == [plain.executions]
    # The same job serves with and without: nothing is paid twice.
    measured = hardware.infer(run, options(rescale=False), yes=True)
    assert len(service.jobs) == 1
    assert measured["rescaling"] is None


def test_reference_points_go_with_the_first_job_and_cost_a_tenth(
    service: Loopback, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(qubits=2)
    lines: list[str] = []
    found = hardware.infer(run, options(), yes=True, echo=lines.append)
    plan = read_json(run.hardware / "plan.json")
    assert [job.executions for job in service.jobs] == [14 * 64, 10 * 64, 10 * 64, 10 * 64]
    assert (plan["executions"], plan["references"]["sets"]) == (44 * 64, 4)
    assert plan["references"]["executions"] == 4 * 64 <= 0.1 * (plan["executions"] - 4 * 64)
    assert (found["parameter_sets"], found["device_against_exact"]["n"]) == (40, 80)
    assert found["rescaling"]["references"] == 4
    assert sum("held-out values" in line for line in lines) == 1
    drawn = images(run)
    assert compare_run(run) == found
    assert hardware.infer(run, options(backend="replay")) == found
    assert np.array_equal(images(run), drawn)


def test_images_get_rescaled_values_in_every_round(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(qubits=2)
    seen: list[tuple[int, int]] = []
    genuine = references.RunRescaling.values

    def record(self: Any, asked: Any, measured: Measured) -> np.ndarray:
        given = genuine(self, asked, measured)
        seen.append((len(measured), len(given)))
        beside = len(measured) - len(given)
        own = measured.rows(slice(beside, None))
        assert self._learned.held
        assert np.array_equal(given, self._learned.others(own)[0])
        assert not np.array_equal(given, own.values)
        return given

    monkeypatch.setattr(references.RunRescaling, "values", record)
    found = hardware.infer(run, options(backend="fake_torino", images=16, shots=20_000))
    assert seen == [(22, 16), (16, 16), (16, 16), (16, 16)]
    assert found["device_against_exact"]["rms"] < found["rescaling"]["measured_against_exact"]["rms"] / 2


def test_a_process_that_dies_after_sending_resumes_to_the_same_images(
    service: Loopback, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lost(BaseException):
        """The process dies."""

    run, other = make_run("run", qubits=2), make_run("other", qubits=2)
    hardware.infer(other, options(), yes=True)
    append, told = JobLog.append, 0

    def die(self: JobLog, event: str, **fields: object) -> None:
        nonlocal told
        told += 1
        if told in (1, 4):
            raise Lost
        append(self, event, **fields)

    monkeypatch.setattr(JobLog, "append", die)
    monkeypatch.setattr(service_jobs, "LOOK_SECONDS", 0.5)
    for again in (False, True):
        with pytest.raises(Lost):
            hardware.infer(run, options(), yes=True, resume=again)
        service.state.wait_until_idle()
        # Another machine's last digits are no other reference points.
        monkeypatch.setattr(references, "choose_references", None)
    hardware.infer(run, options(), yes=True, resume=True)
    assert [job.executions for job in service.jobs] == [14 * 64, 10 * 64, 10 * 64, 10 * 64] * 2
    assert np.array_equal(images(run), images(other))


def test_references_are_chosen_spread_among_the_angles_of_the_exact_run(make_run: MakeRun) -> None:
    run = make_run(qubits=2)
    hardware.plan(run, options(backend="fake_manila"))
    process = planned_workload(run).process
    asked: list[np.ndarray] = []
    core_inputs = process.model.core_inputs
    process.model.core_inputs = lambda *given: asked.append(core_inputs(*given)) or asked[-1]  # type: ignore
    process.simulate()
    pool = np.concatenate([angles.numpy() for angles in asked]).astype(float)
    chosen = references.choose_references(process, (0, 1, 2, 3), 4)
    distances = np.abs(pool[None] - chosen[:, None]).max(axis=-1)
    assert (distances.min(axis=1) < 1e-5).all()
    values = process.exact.values(pool)
    best = spread_points(values, 4)
    assert {*distances.argmin(axis=1)} == {*best}


def test_a_refusal_is_said_and_leaves_the_values_as_measured(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    """The device's values do not lie on a line against what is taken for exact."""
    given = options(backend="aer", shots=4096)
    hardware.infer(run, given.model_copy(update={"rescale": False}))
    plain = images(run)
    monkeypatch.setattr(references, "learn", lambda exact, points, copies: learn(np.abs(exact) - 0.5, points, copies))
    lines: list[str] = []
    found = hardware.infer(run, given, echo=lines.append)
    assert any("rescaling refused, values stay as measured: " in line for line in lines)
    assert found["rescaling"]["held"] is False
    assert found["device_against_exact"] == found["rescaling"]["measured_against_exact"]
    assert np.array_equal(images(run), plain)
    code, out, _ = command("compare", run.path)
    assert (code, "rescaling refused" in out) == (0, True)


def test_rescaling_needs_points_enough(run: RunDirectory, make_run: MakeRun) -> None:
    seeing = make_run("seeing", qubits=2)
    with pytest.raises(HardwareError, match="10% of the run's executions pay for 3 reference points"):
        hardware.plan(seeing, options(images=9, backend="fake_manila"))
    with pytest.raises(HardwareError, match="the run has 3 reference points, and 4 are needed"):
        hardware.plan(run, options(qpu_steps=[1], backend="fake_manila"))
    assert not (seeing.hardware / "plan.json").exists()


def test_rescaled_stands_among_the_levels(run: RunDirectory) -> None:
    hardware.infer(run, options(backend="fake_manila", rescale=False, shots=4096))
    found = compare_variants(run, ["0", "rescale", "sampler+rescale"])
    rows = {row["name"]: row for row in found["variants"]}
    assert list(rows) == [
        "noisy simulation",
        *(f"{name}, 1 at a time" for name in ("level 0", "level 0+rescale", "sampler+rescale")),
    ]
    assert rows["level 0+rescale, 1 at a time"]["executions"] == rows["level 0, 1 at a time"]["executions"]
    assert rows["level 0+rescale, 1 at a time"]["rms"] < rows["level 0, 1 at a time"]["rms"]
    assert rows["level 0, 1 at a time"]["rescaling"] is None
    assert rows["sampler+rescale, 1 at a time"]["rescaling"]["references"] == 12


def test_variants_of_one_job_share_what_was_measured(service: Loopback, run: RunDirectory) -> None:
    """On a device a job is paid once: rescaling takes the run's own values, and so does the run's own level."""
    hardware.infer(run, options(rescale=False), yes=True)
    found = compare_variants(run, ["0", "rescale"], yes=True)
    rows = {row["level"]: row for row in found["variants"]}
    assert len(service.jobs) == 1
    assert rows["0+rescale"]["n"] == rows["0"]["n"] == 24
    assert rows["0"]["rms"] == found["device_against_exact"]["rms"]


def test_options_and_tables_say_it(run: RunDirectory, command: Command) -> None:
    code, out, _ = command("plan", run.path, "--backend", "fake_manila", "--rescale", "--steps", 4, "--images", 3)
    assert (code, "rescaled" in out, "the run's own circuits" in out) == (0, True, True)
    assert read_json(run.hardware / "plan.json")["config"]["rescale"] is True
    code, out, _ = command("plan", run.path, "--backend", "fake_manila", "--no-rescale", "--steps", 4, "--images", 3)
    assert (code, "reference points" in out) == (0, False)
