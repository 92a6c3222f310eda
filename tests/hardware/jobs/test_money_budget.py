"""A budget in money is one in seconds by the price of a second: whatever holds for the one holds for the other."""

import json
import re
from pathlib import Path

import pytest
from hardware_runs import Command, MakeRun
from loopback import Loopback

import hardware
from hardware.errors import BudgetError
from hardware.jobs.budget import Budget, RunBudget
from hardware.noise.draw import plan_noise
from hardware.noise.plan import NoisePlan
from hardware.runs.variants import compare_variants
from qhybrid.config import HardwareConfig, NoiseBankConfig, build_section
from qhybrid.errors import ConfigError, RunDirectoryError
from qhybrid.files import read_json, write_json
from qhybrid.rundir import RunDirectory

OPTIONS = HardwareConfig(backend="ibm_manila", images=1, steps=2, qpu_steps="all", shots=16, pack=1)
ARGUMENTS = ("--backend", "ibm_manila", "--images", "1", "--steps", "2", "--qpu-steps", "all", "--shots", "16")
LOCAL = ("--backend", "fake_manila", *ARGUMENTS[2:])


@pytest.fixture
def run(make_run: MakeRun) -> RunDirectory:
    return make_run(qubits=2)


@pytest.mark.parametrize(
    ("budget", "limit", "words"),
    [
        (Budget(), None, "no budget"),
        (Budget(price=2.0), None, "no budget"),
        (Budget(seconds=10.0), 10.0, "budget_seconds 10"),
        (Budget(cost=8.0, price=1.6), 5.0, "budget_cost 8 (5 s at 1.6 per second)"),
        (Budget(seconds=10.0, cost=8.0, price=1.6), 5.0, "budget_cost 8 (5 s at 1.6 per second)"),
        (Budget(seconds=4.0, cost=8.0, price=1.6), 4.0, "budget_seconds 4"),
    ],
)
def test_the_stricter_budget_holds_and_is_named(budget: Budget, limit: float | None, words: str) -> None:
    assert (budget.limit, budget.words) == (limit, words)


def test_a_plan_shows_its_price_and_is_held_to_the_money(run: RunDirectory, command: Command) -> None:
    code, out, _ = command("plan", run.path, *LOCAL, "--price-per-second", "1.6", "--budget-cost", "8", "--json")
    made = json.loads(out)
    assert (code, made["budget_seconds"], made["cost"]) == (0, 5.0, pytest.approx(1.6 * made["seconds"]))
    code, out, _ = command("plan", run.path, *LOCAL, "--price-per-second", "1.6", "--budget-cost", "8")
    assert re.search(rf"price\W+{1.6 * made['seconds']:.2f}\W", out), out
    assert "8.00 at 1.6 per second (5.0 s)" in out
    code, _, err = command("plan", run.path, *LOCAL, "--price-per-second", "1.6", "--budget-cost", "3")
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "budget_cost 3 (1.875 s at 1.6 per second) is too small: the plan (2 jobs) takes 4.0 s" in err
    # Without a price nothing changes.
    assert json.loads(command("plan", run.path, *LOCAL, "--json")[1])["cost"] is None
    assert "price" not in command("plan", run.path, *LOCAL)[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--budget-cost", "5"), r"--budget-cost 5 needs the price of a second: add --price-per-second"),
        (("--budget-cost", "nan", "--price-per-second", "1"), r"--budget-cost nan: give an amount of 0 or more"),
        (("--budget-cost", "inf", "--price-per-second", "1"), r"--budget-cost inf: give an amount of 0 or more"),
        (("--budget-cost", "-1", "--price-per-second", "1"), r"--budget-cost -1: give an amount of 0 or more"),
        (("--price-per-second", "0"), r"--price-per-second 0: give what a second costs, above 0"),
        (("--price-per-second", "nan"), r"--price-per-second nan: give what a second costs"),
        (("--price-per-second", "inf"), r"--price-per-second inf: give what a second costs"),
        (("--price-per-second", "-2"), r"--price-per-second -2: give what a second costs"),
        (("--budget-cost", "0", "--price-per-second", "2"), r"budget_cost 0 \(0 s at 2 per second\) is too small"),
    ],
)
def test_bad_money_ends_in_one_line(
    arguments: tuple[str, ...], words: str, run: RunDirectory, command: Command
) -> None:
    code, out, err = command("infer", run.path, *LOCAL, *arguments)
    assert (code, out, len(err.strip().splitlines())) == (2, "", 1), err
    assert re.search(words, err), err
    assert not run.hardware.exists()


@pytest.mark.parametrize(
    "values",
    [
        {"budget_cost": 5.0},
        {"budget_cost": -5.0, "price_per_second": 1.0},
        {"budget_cost": 5.0, "price_per_second": 0.0},
        {"budget_cost": float("inf"), "price_per_second": 1.0},
        {"price_per_second": float("nan")},
    ],
)
@pytest.mark.parametrize("kind", [HardwareConfig, NoiseBankConfig])
def test_bad_money_in_a_configuration_is_refused(kind: type, values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"budget_cost|price_per_second"):
        build_section(kind, values, "the configuration")


def test_money_is_a_promise_of_the_run_as_seconds_are(service: Loopback, run: RunDirectory, command: Command) -> None:
    named = ("--budget-cost", "12", "--price-per-second", "2", "--yes")
    assert command("infer", run.path, *ARGUMENTS, *named)[0] == 0
    assert RunBudget(run).promised() == Budget(cost=12.0, price=2.0)
    assert [job.max_seconds for job in service.jobs] == [6, 4]
    # Without a word the budget holds, for whatever command.
    words = r"budget_cost 12 \(6 s at 2 per second\) of .*other plans have taken 4\.0 s .*raise it by --budget-cost"
    with pytest.raises(BudgetError, match=words):
        hardware.infer(run, OPTIONS.model_copy(update={"seed": 5}), yes=True)
    with pytest.raises(BudgetError, match="budget_cost 12"):
        compare_variants(run, ["1"], yes=True)
    code, _, err = command("infer", run.path, *ARGUMENTS, "--seed", "5", "--yes")
    assert (code, "budget_cost 12" in err) == (2, True)
    # Raised in money, and still held to seconds that were named beside it.
    code, _, err = command("infer", run.path, *ARGUMENTS, "--seed", "5", "--yes", "--budget-cost", "99",
                           "--budget-seconds", "7")  # fmt: skip
    assert (code, "budget_seconds 7 of" in err) == (2, True)
    assert len(service.jobs) == 2
    assert command("infer", run.path, *ARGUMENTS, "--seed", "5", "--yes", "--budget-cost", "99")[0] == 0
    assert service.state.consumed_seconds == RunBudget(run).spent() == 8.0


def test_money_that_runs_out_in_the_middle_names_itself(service: Loopback, run: RunDirectory) -> None:
    service.state.seconds_per_job = 4.0
    config = OPTIONS.model_copy(update={"budget_cost": 10.0, "price_per_second": 2.0})
    with pytest.raises(BudgetError, match=r"budget_cost 10 \(5 s at 2 per second\): 1\.0 s are left"):
        hardware.infer(run, config, yes=True)
    assert len(service.jobs) == 1


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"seconds": "many"},
        {"seconds": None, "cost": 5.0},
        {"seconds": None, "cost": 5.0, "price": 0.0},
        {"seconds": None, "price": -1.0},
    ],
)
def test_a_damaged_promise_is_said_and_never_taken_for_none(content: object, run: RunDirectory) -> None:
    write_json(RunBudget(run).path, content)
    with pytest.raises(RunDirectoryError, match=r"budget\.json` is damaged .*name the budget again"):
        RunBudget(run).promised()


def test_a_promise_of_an_earlier_version_holds(run: RunDirectory) -> None:
    write_json(RunBudget(run).path, {"seconds": 6.0})
    assert RunBudget(run).seconds() == 6.0
    RunBudget(run).promise(Budget(cost=4.0, price=1.0))
    assert RunBudget(run).seconds() == 4.0
    assert read_json(RunBudget(run).path) == {"seconds": 6.0, "cost": 4.0, "price": 1.0}


def test_a_bank_keeps_its_budget_and_its_key_whatever_it_costs(tmp_path: Path) -> None:
    config = NoiseBankConfig(backend="fake_manila", normals=20_000, budget_cost=300.0, price_per_second=3.0)
    draw = plan_noise(tmp_path / "bank.npz", config)
    assert (draw.plan.budget_seconds, draw.plan.cost) == (100.0, pytest.approx(3.0 * draw.plan.seconds))
    draw.save()
    free = config.model_copy(update={"budget_cost": None, "price_per_second": None})
    again = plan_noise(tmp_path / "bank.npz", free, resume=True).plan
    assert (again.budget_seconds, again.key) == (100.0, draw.plan.key)
    assert NoisePlan.from_dict(again.to_dict()) == again
    with pytest.raises(BudgetError, match=r"budget_cost 1 \(0\.33\d+ s at 3 per second\) is too small: drawing"):
        plan_noise(tmp_path / "bank.npz", free.model_copy(update={"budget_cost": 1.0}), resume=True)
