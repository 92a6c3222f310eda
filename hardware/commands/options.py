"""Options of `qhybrid hardware ...`: declared once for `plan`, `submit` and `infer`, made into a configuration."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console

from hardware.errors import HardwareError

if TYPE_CHECKING:
    from hardware.jobs.budget import Budget
    from qhybrid.config import HardwareConfig, NoiseBankConfig

ConfigT = TypeVar("ConfigT", "HardwareConfig", "NoiseBankConfig")

_console = Console()

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory with a trained circuit.")]
BackendOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="aer, fake_torino, fake_manila, ..., or an IBM device.")
]
FractionalOption = Annotated[
    bool | None,
    typer.Option("--fractional-gates/--no-fractional-gates", help="Use RX and RZZ as native gates."),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Send to a real device.")]
PartialOption = Annotated[
    bool, typer.Option("--partial", help="Begin although the account has less device time left than the plan takes.")
]
DiscardOption = Annotated[
    bool, typer.Option("--discard", help="Begin anew although jobs of another plan are in flight; cancel them.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ModeOption = Annotated[str | None, typer.Option(metavar="auto|job|batch|session", help="Runtime's execution mode.")]
BudgetOption = Annotated[float | None, typer.Option(help="Refuse a plan of more device time.")]
CostOption = Annotated[float | None, typer.Option(help="Refuse a plan that costs more; the stricter budget holds.")]
PriceOption = Annotated[float | None, typer.Option(help="What a second of device time costs by your contract.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with what was interrupted.")]
WaitOption = Annotated[
    float | None, typer.Option(help="Stop waiting for a job after so long; --resume goes on (default: never).")
]

# By the name of the command's parameter; what is not given follows the stored plan, or the run's configuration.
PLAN_OPTIONS: dict[str, Any] = {
    "backend": BackendOption,
    "images": Annotated[int | None, typer.Option(help="Images to generate.")],
    "steps": Annotated[int | None, typer.Option(help="Denoising steps.")],
    "qpu_steps": Annotated[
        str | None, typer.Option(metavar="auto|all|0,3,5|0-3", help="Denoising steps with the circuit on the device.")
    ],
    "mode": ModeOption,
    "primitive": Annotated[str | None, typer.Option(metavar="estimator|sampler", help="Runtime's primitive.")],
    "level": Annotated[int | None, typer.Option(metavar="0|1|2", help="Resilience level of the estimator.")],
    "shots": Annotated[int | None, typer.Option(help="Shots per image.")],
    "pack": Annotated[
        str | None,
        typer.Option(metavar="auto|1|K", help="Images side by side in one circuit, each on a place of its own."),
    ],
    "floor": Annotated[
        float | None, typer.Option(help="--pack auto: least success of a place, as part of the best one's (0 to 1).")
    ],
    "spacing": Annotated[int | None, typer.Option(help="Free couplings between two places, against crosstalk.")],
    "twirling": Annotated[
        bool | None, typer.Option("--twirling/--no-twirling", help="Twirl gates and readout (default: as the level).")
    ],
    "dd": Annotated[
        str | None, typer.Option(metavar="XX|XpXm|XY4|none", help="Dynamical decoupling of waiting qubits.")
    ],
    "trex": Annotated[
        bool | None, typer.Option("--trex/--no-trex", help="Estimator: readout correction (default: as the level).")
    ],
    "zne": Annotated[
        bool | None, typer.Option("--zne/--no-zne", help="Estimator: zero-noise extrapolation (default: as the level).")
    ],
    "zne_factors": Annotated[str | None, typer.Option(metavar="1,3,5", help="With ZNE: noise factors.")],
    "readout_mitigation": Annotated[
        bool | None,
        typer.Option("--readout-mitigation/--no-readout-mitigation", help="Sampler: readout correction of our own."),
    ],
    "rescale": Annotated[
        bool | None,
        typer.Option(
            "--rescale/--no-rescale", help="Undo the factor and shift of each observable, as references show them."
        ),
    ],
    "fractional_gates": FractionalOption,
    "budget_seconds": BudgetOption,
    "budget_cost": CostOption,
    "price_per_second": PriceOption,
    "seed": Annotated[int | None, typer.Option(help="Seed of the first image; image i uses seed + i.")],
}
_KEYS = {"floor": "pack_floor", "spacing": "pack_spacing", "dd": "dynamical_decoupling"}


def with_plan_options(command: Callable[..., None], names: Iterable[str] = tuple(PLAN_OPTIONS)) -> Callable[..., None]:
    """Give a command the options of a plan; it receives those that were used as `options`, ready for `run_config`.

    Args:
        command: Function of the command, whose first parameter is its argument and which has a parameter called
            `options`.
        names: Names of the options that it gets, by default all.
    """
    first, *others = inspect.signature(command, eval_str=True).parameters.values()
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in PLAN_OPTIONS.items()
        if name in names
    ]
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in others if parameter.name != "options"
    ]

    @functools.wraps(command)
    def wrapped(*arguments: Any, **values: Any) -> None:
        options = {name: values.pop(name, None) for name in names}
        command(*arguments, **values, options=parsed_options(options))

    signature = inspect.Signature([first, *shared, *own])
    wrapped.__signature__ = signature  # type: ignore[attr-defined]
    wrapped.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return wrapped


def parsed_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were used, by their keys in a configuration, lists and choices read from their texts."""
    readers: dict[str, Callable[[str], Any]] = {
        "qpu_steps": parse_steps,
        "pack": parse_pack,
        "zne_factors": parse_factors,
        "dd": lambda text: None if text == "none" else text,
    }
    return {
        _KEYS.get(name, name): readers[name](value) if name in readers else value
        for name, value in options.items()
        if value is not None
    }


def run_config(run: Path, options: dict[str, Any], *, planned: bool = False) -> HardwareConfig:
    """Options over those of the stored plan (if `planned`), else over the run's own, else over the defaults.

    Args:
        run: The run directory.
        options: Options of the command line; None leaves a key as it is.
        planned: Whether the stored plan's options are the base.

    Raises:
        ConfigError: An option's value is not allowed, or does not go with the others.
    """
    from hardware.jobs.budget import RunBudget
    from hardware.planning.bill import Plan
    from qhybrid.config import BUDGET_KEYS, HardwareConfig, build_config
    from qhybrid.rundir import RunDirectory

    directory = RunDirectory.open(run)
    values = directory.config().model_dump()
    base = values["hardware"] or HardwareConfig().model_dump()
    stored = directory.hardware / "plan.json"
    if planned and stored.exists():
        base = Plan.load(stored).config
    given = {name: value for name, value in options.items() if name not in BUDGET_KEYS}
    # What an earlier command has promised holds before the configuration's own.
    budget = named_budget(options).over(RunBudget(directory).promised())
    config = build_config({**values, "hardware": {**base, **given}}, f"options and `{directory.config_file}`").hardware
    config = config or HardwareConfig()
    return with_budget(config, budget)


def with_budget(config: ConfigT, budget: Budget) -> ConfigT:
    """Put a budget into a configuration, in place of the parts that it names.

    A copy is not validated: a budget of 0 is to be refused with the seconds that the plan takes, not as a value.

    Args:
        config: The configuration of a run or of a bank.
        budget: Budget of the command's options, or of earlier commands.

    Returns:
        The configuration with this budget.

    Raises:
        HardwareError: A budget in money, and no price.
    """
    from hardware.jobs.budget import Budget

    whole = budget.over(Budget.of(config.model_dump()))
    require_price(whole)
    return config.model_copy(update=whole.options())


def named_budget(options: Mapping[str, float | None]) -> Budget:
    """The budget that a command's options name.

    Args:
        options: `budget_seconds`, `budget_cost` and `price_per_second`, `None` or left out where they were not given.

    Raises:
        HardwareError: A value is no finite number, which no plan could be held against; a budget in money is negative,
            or a price not above 0.
    """
    from hardware.jobs.budget import Budget

    seconds, cost, price = (options.get(name) for name in ("budget_seconds", "budget_cost", "price_per_second"))
    if seconds is not None:
        finite_seconds("--budget-seconds", seconds)
    if cost is not None and not (math.isfinite(cost) and cost >= 0):
        raise HardwareError(f"--budget-cost {cost:g}: give an amount of 0 or more, or leave it out for no limit")
    if price is not None and not (math.isfinite(price) and price > 0):
        raise HardwareError(f"--price-per-second {price:g}: give what a second costs, above 0")
    return Budget(seconds, cost, price)


def require_price(budget: Budget) -> None:
    """Refuse a budget in money where no price is known.

    Raises:
        HardwareError: It is one.
    """
    if budget.cost is not None and budget.price is None:
        raise HardwareError(
            f"--budget-cost {budget.cost:g} needs the price of a second: add --price-per-second, or set "
            "`hardware.price_per_second`"
        )


def finite_seconds(option: str, seconds: float) -> float:
    """Check that an option is a number of seconds.

    Args:
        option: Name of the option, which the message repeats.
        seconds: Value that the user gave, in seconds.

    Raises:
        HardwareError: It is infinite or not a number.
    """
    if not math.isfinite(seconds):
        raise HardwareError(f"{option} {seconds:g}: give a finite number of seconds, or leave it out for no limit")
    return seconds


def wait_limit(seconds: float | None) -> float | None:
    """Check `--wait-seconds`.

    Args:
        seconds: What was given; `None` waits for ever.

    Raises:
        HardwareError: It is negative, infinite or not a number.
    """
    if seconds is not None and finite_seconds("--wait-seconds", seconds) < 0:
        raise HardwareError(f"--wait-seconds {seconds:g}: give 0 or more seconds, or leave it out to wait for ever")
    return seconds


def parse_steps(text: str) -> str:
    """`--qpu-steps`, checked; the configuration takes lists and ranges as they are written.

    Raises:
        HardwareError: The text is no value of `--qpu-steps`; the line says what is.
    """
    if text in ("auto", "all") or re.fullmatch(r"-?\d+(-\d+)?(,-?\d+(-\d+)?)*", text):
        return text
    raise HardwareError(f"--qpu-steps `{text}`: give auto, all, or step numbers such as 0,3,5 or 0-3") from None


def parse_pack(text: str) -> Literal["auto"] | int:
    """`--pack`.

    Raises:
        HardwareError: The text is no value of `--pack`; the line says what is.
    """
    if text == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError:
        raise HardwareError(f"--pack `{text}`: give auto, or the number of images side by side") from None


def parse_factors(text: str) -> list[float]:
    """`--zne-factors`.

    Raises:
        HardwareError: The text is no value of `--zne-factors`; the line says what is.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise HardwareError(f"--zne-factors `{text}`: give numbers of at least 1, such as 1,3,5") from None


def say(line: str) -> None:
    """A line for people, as it is."""
    _console.print(line, highlight=False, soft_wrap=True, markup=False)


def ignore(said: Any) -> None:
    """Progress has no place in JSON output."""
