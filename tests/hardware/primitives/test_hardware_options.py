"""Mitigation by option: from the command line to Runtime's options, and to the executions of the plan."""

from typing import Any

import numpy as np
import pytest
from hardware_runs import Command
from pydantic import ValidationError
from qiskit_ibm_runtime.executor_estimator.finalize_options import finalize_estimator_options

from hardware.commands.options import parsed_options
from hardware.commands.tables import mitigation_words
from hardware.errors import HardwareError
from hardware.placement.transpilation import Program, transpile
from hardware.primitives.execution import expected_job
from hardware.primitives.options import job_options
from hardware.service.backends import open_backend
from qhybrid.config import HardwareConfig
from qhybrid.files import read_json
from qhybrid.quantum.circuits.ansatz import build_spec
from qhybrid.rundir import RunDirectory

SPEC = build_spec("ry_rz_ladder", 3, 1)
SMALL = ("--backend", "fake_manila", "--images", "2", "--steps", "1", "--shots", "64", "--qpu-steps", "all")


@pytest.fixture(scope="module")
def manila() -> Program:
    backend = open_backend("fake_manila")
    return transpile(SPEC, backend).local_program(SPEC, np.linspace(-1.0, 1.0, 6), backend)


def config(**options: Any) -> HardwareConfig:
    return HardwareConfig(backend="fake_manila", shots=640, **options)


def settings(**options: Any) -> dict[str, Any]:
    """What Runtime makes of the options, its own defaults by level filled in."""
    final = finalize_estimator_options(job_options(config(**options)))
    return {
        "gates": final.twirling.enable_gates,
        "measure": final.twirling.enable_measure,
        "trex": final.resilience.measure_mitigation,
        "zne": final.resilience.zne_mitigation,
        "factors": final.resilience.zne.noise_factors,
        "dd": final.dynamical_decoupling.enable and final.dynamical_decoupling.sequence_type,
    }


NOTHING = {"gates": False, "measure": False, "trex": False, "zne": False, "factors": "auto", "dd": False}


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({}, {}),
        ({"level": 1}, {"measure": True, "trex": True}),
        ({"level": 2}, {"gates": True, "measure": True, "trex": True, "zne": True}),
        ({"twirling": True}, {"gates": True, "measure": True}),
        ({"level": 2, "twirling": False}, {"measure": True, "trex": True, "zne": True}),
        ({"trex": True}, {"measure": True, "trex": True}),
        ({"level": 1, "trex": False}, {"measure": True}),
        ({"zne": True}, {"zne": True}),
        ({"level": 2, "zne": False}, {"gates": True, "measure": True, "trex": True}),
        ({"zne": True, "zne_factors": [1, 2, 3]}, {"zne": True, "factors": (1, 2, 3)}),
        ({"dynamical_decoupling": "XpXm"}, {"dd": "XpXm"}),
    ],
)
def test_every_option_reaches_the_runtime(options: dict[str, Any], changed: dict[str, Any]) -> None:
    assert settings(**options) == {**NOTHING, **changed}


def test_options_of_the_sampler_reach_the_runtime() -> None:
    plain = job_options(config(primitive="sampler"))
    assert (plain.twirling.enable_gates, plain.dynamical_decoupling.enable) == (None, False)
    chosen = job_options(config(primitive="sampler", twirling=True, dynamical_decoupling="XY4"))
    assert (chosen.twirling.enable_gates, chosen.twirling.enable_measure) == (True, True)
    assert (chosen.dynamical_decoupling.enable, chosen.dynamical_decoupling.sequence_type) == (True, "XY4")


@pytest.mark.parametrize(
    ("options", "circuits"),
    [
        ({}, 4),
        # A calibration circuit of TREX, whatever the number of parameter sets.
        ({"trex": True}, 4 + 1),
        ({"zne": True}, 4 * 3),
        ({"zne": True, "zne_factors": [1, 2, 3, 4]}, 4 * 4),
        ({"zne": True, "trex": True}, 4 * 3 + 1),
        ({"dynamical_decoupling": "XX"}, 4),
        # All qubits in 0 and all in 1.
        ({"primitive": "sampler"}, 4 + 2),
        ({"primitive": "sampler", "readout_mitigation": False}, 4),
    ],
)
def test_executions_follow_the_options(manila: Program, options: dict[str, Any], circuits: int) -> None:
    found = expected_job(manila, np.zeros((4, 3)), job_options(config(**options)))
    assert found.executions == circuits * 640


def test_decoupling_fills_the_waiting_of_qubits_with_gates(manila: Program) -> None:
    from hardware.primitives import execution

    def gates(**options: Any) -> int:
        items = execution._prepare(manila, np.zeros((1, 3)), job_options(config(**options))).items
        return int(items[0].circuit.count_ops().get("x", 0))

    assert gates(dynamical_decoupling="XY4") > gates(dynamical_decoupling="XX") > gates()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"primitive": "sampler", "zne": True}, "`zne` are the estimator's"),
        ({"zne_factors": [1, 3, 5]}, "`zne_factors` need `zne: true`"),
        ({"zne": True, "zne_factors": [1, 3, 3]}, "at least three different"),
        ({"fractional_gates": True, "level": 2}, "neither twirled nor folded"),
        ({"fractional_gates": True, "twirling": True}, "neither twirled nor folded"),
        ({"fractional_gates": True, "zne": True}, "neither twirled nor folded"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        config(**options)


def test_a_simulator_without_durations_cannot_decouple() -> None:
    backend = open_backend("aer")
    program = transpile(SPEC, backend).local_program(SPEC, np.zeros(6), backend)
    with pytest.raises(HardwareError, match=r"waiting qubits cannot be decoupled.*--dd none"):
        expected_job(program, np.zeros((1, 3)), job_options(config(dynamical_decoupling="XX")))


def test_options_are_read_from_the_command_line(command: Command, run: RunDirectory) -> None:
    given = ("--level", "1", "--twirling", "--no-trex", "--zne", "--zne-factors", "1,1.5,3", "--dd", "XX")
    assert command("plan", run.path, *SMALL, *given, "--floor", "0.5", "--spacing", "2")[0] == 0
    plan = read_json(run.hardware / "plan.json")
    stored = HardwareConfig.model_validate(plan["config"])
    assert (stored.level, stored.twirling, stored.trex, stored.zne) == (1, True, False, True)
    assert (stored.zne_factors, stored.dynamical_decoupling) == ([1.0, 1.5, 3.0], "XX")
    assert (stored.pack_floor, stored.pack_spacing) == (0.5, 2)
    assert plan["executions"] == 2 * 3 * 64
    # `submit` goes on with what was planned; what is said anew counts.
    code, out, err = command("submit", run.path, "--dd", "none")
    assert (code, out) == (2, "")
    assert "planned with other options (dynamical_decoupling: 'XX' there" in err
    code, out, _ = command("submit", run.path)
    assert (code, "1 of 1 steps done" in out) == (0, True)


def test_the_plan_says_what_is_done_about_errors(command: Command, run: RunDirectory) -> None:
    code, out, _ = command(
        "plan", run.path, *SMALL, "--level", "2", "--no-trex", "--zne-factors", "1,2,2.5", "--dd", "XY4"
    )
    assert code == 0
    # The cell breaks where the terminal is narrow.
    assert "level 2, no TREX, noise factors 1, 2, 2.5, decoupling XY4" in " ".join(out.replace("│", " ").split())
    assert mitigation_words(config(primitive="sampler").model_dump()) == "sampler, readout corrected"


def test_only_options_that_were_used_count() -> None:
    assert parsed_options({"shots": None, "dd": "none", "twirling": False, "floor": 0.9}) == {
        "dynamical_decoupling": None,
        "twirling": False,
        "pack_floor": 0.9,
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--zne", "--zne-factors", "0.5,1,2"), "hardware.zne_factors"),
        (("--zne-factors", "a,b"), "--zne-factors `a,b`"),
        (("--zne", "--zne-factors", "1,3"), "at least three different"),
        (("--primitive", "sampler", "--trex"), "`trex`"),
        (("--dd", "YY"), "hardware.dynamical_decoupling"),
        (("--floor", "0"), "hardware.pack_floor"),
        (("--spacing", "-1"), "hardware.pack_spacing"),
        (("--backend", "aer", "--dd", "XX"), "cannot be decoupled"),
        (("--backend", "aer", "--twirling"), "cannot be twirled"),
    ],
)
def test_bad_mitigation_ends_with_one_line_and_no_files(
    command: Command, run: RunDirectory, options: tuple[str, ...], words: str
) -> None:
    code, out, err = command("infer", run.path, *SMALL, *options)
    assert (code, out, len(err.strip().splitlines())) == (2, "", 1)
    assert words in err
    assert not run.hardware.exists()
