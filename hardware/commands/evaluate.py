"""`qhybrid hardware evaluate`: expectation values of a circuit file on a device."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hardware.commands.options import (
    BackendOption,
    BudgetOption,
    CostOption,
    JsonOption,
    PriceOption,
    ResumeOption,
    WaitOption,
    YesOption,
    ignore,
    named_budget,
    require_price,
    say,
    wait_limit,
    with_plan_options,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hardware.estimation.evaluation import Evaluated
    from qhybrid.quantum.circuits.spec import CircuitSpec

_console = Console()
_OPTIONS = (
    "primitive",
    "level",
    "shots",
    "twirling",
    "dd",
    "trex",
    "zne",
    "zne_factors",
    "readout_mitigation",
    "fractional_gates",
    "seed",
)
_SHOWN = 12


@functools.partial(with_plan_options, names=_OPTIONS)
def evaluate(
    circuit: Annotated[Path, typer.Argument(metavar="CIRCUIT", help="QPY or OpenQASM 3 file of one circuit.")],
    options: dict[str, Any],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.npz", help="The result; FILE.json beside it is its record.")
    ],
    parameters: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="`values` (N, P) in radians, columns as in `circuit.parameters`, or (N,) for each by its name.",
        ),
    ] = None,
    observables: Annotated[
        str | None,
        typer.Option(metavar="z|zz|ZZI,IXX|FILE.json", help="What is measured (default: the file's own, else <Z>s)."),
    ] = None,
    backend: BackendOption = None,
    budget_seconds: BudgetOption = None,
    budget_cost: CostOption = None,
    price_per_second: PriceOption = None,
    yes: YesOption = False,
    resume: ResumeOption = False,
    wait_seconds: WaitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Expectation values of a circuit of your own on a device or its local copy, with standard errors.

    The folder FILE.evaluation keeps the jobs and their results, from which --resume goes on.
    """
    from hardware.errors import HardwareError
    from hardware.estimation.estimator import device_estimator
    from hardware.estimation.evaluation import carry_out, parameter_values, price_of
    from hardware.estimation.state import EstimatorState
    from hardware.planning.bill import price_words
    from hardware.service.account import is_local

    wait_seconds = wait_limit(wait_seconds)
    budget = named_budget(
        {"budget_seconds": budget_seconds, "budget_cost": budget_cost, "price_per_second": price_per_second}
    )
    require_price(budget)
    if backend is None:
        raise HardwareError("--backend missing: name an IBM device, a local copy such as fake_torino, or aer")
    if out.suffix != ".npz":
        raise HardwareError(f"a result is an npz file, found `{out}`: call it `{out.with_suffix('.npz')}`")
    for there in (out, out.with_suffix(".json")):
        if there.exists():
            raise HardwareError(f"`{there}` exists: choose another --out")
    folder = out.with_suffix(".evaluation")
    if EstimatorState(folder).evaluations() and not resume:
        raise HardwareError(f"`{folder}` holds an unfinished evaluation: add --resume, or choose another --out")
    spec = read_circuit(circuit, observables)
    points = parameter_values(spec, None if parameters is None else read_values(parameters, spec))
    echo = ignore if as_json else say
    estimator = device_estimator(
        spec, backend, folder=folder, budget=budget.limit, wait_seconds=wait_seconds, echo=echo, **options
    )
    price = price_of(estimator, spec, points)
    cost = budget.cost_of(price.seconds)
    echo(
        f"{len(points)} parameter sets, {spec.num_outputs} observables on {backend}: {price.jobs} jobs, "
        f"{price.executions:,} executions, {price.seconds:.1f} s of device time"
        + ("" if cost is None else f", price {price_words(cost)}")
    )
    if not is_local(estimator.backend) and not yes:
        raise HardwareError(
            f"`{backend}` is a real device: add --yes to send {price.jobs} jobs of {price.seconds:.0f} s in all"
        )
    found = carry_out(estimator, spec, points)
    found.save(out)
    if as_json:
        typer.echo(json.dumps({**found.record, "bill": asdict(found.bill), "out": str(out)}, indent=2))
        return
    _console.print(_table(found))
    bill = found.bill
    say(f"{bill.jobs} jobs, {bill.executions:,} executions, {bill.spent:.1f} s charged or still to be told")
    say(f"result: {out}")


def read_circuit(path: Path, observables: str | None) -> CircuitSpec:
    """The circuit of a file with all its parameters and what is to be measured.

    Args:
        path: QPY or OpenQASM 3 file.
        observables: `z`, `zz`, Pauli labels with commas between them, or the path of a JSON file; `None` takes those
            that the file holds, else <Z> of each qubit.

    Raises:
        CircuitError: The file is damaged, holds no circuit or one that measures; or the observables do not fit.
    """
    from dataclasses import replace

    from qhybrid.config import CircuitFileConfig
    from qhybrid.errors import CircuitError
    from qhybrid.quantum.circuits.observables import named_observables, read_observables
    from qhybrid.quantum.circuits.own import read_circuit_file
    from qhybrid.quantum.circuits.spec import CircuitSpec

    plain = read_circuit_file(CircuitFileConfig.model_construct(file=str(path), inputs=[], observables=None))
    spec = replace(plain, inputs=tuple(plain.circuit.parameters), weights=())
    if observables is None:
        # A file that `CircuitSpec.save` wrote, as checkpoints hold it, says what is measured.
        try:
            return replace(spec, observables=CircuitSpec.load(path).observables)
        except CircuitError:
            return spec
    if observables.endswith(".json"):
        return replace(spec, observables=read_observables(observables, spec.num_qubits))
    names = observables if observables in ("z", "zz") else observables.split(",")
    return replace(spec, observables=named_observables(names, spec.num_qubits))


def read_values(path: Path, spec: CircuitSpec) -> NDArray[Any]:
    """Parameter values `(N, P)` of an npz file, columns in the order of the inputs.

    Args:
        path: File that holds `values`, `(N, P)`, or an array `(N,)` for each parameter by its name.
        spec: Circuit whose inputs are all its parameters.

    Raises:
        HardwareError: The file cannot be read, lacks a parameter, or its arrays differ in length.
    """
    import numpy as np

    from hardware.errors import HardwareError
    from qhybrid.files import DamagedFileError, read_npz

    names = [parameter.name for parameter in spec.inputs]
    try:
        found = read_npz(path, [], ["values", *names])
    except FileNotFoundError:
        raise HardwareError(f"--parameters `{path}`: no such file") from None
    except DamagedFileError as error:
        raise HardwareError(f"--parameters `{path}` is no npz file of numbers ({error})") from None
    if "values" in found and "values" not in names:
        return found["values"]
    lacking = [name for name in names if name not in found]
    if lacking:
        raise HardwareError(
            f"`{path}` holds neither `values` (N, {len(names)}) nor an array for each parameter: `{lacking[0]}` is "
            "missing"
        )
    shapes = {name: np.atleast_1d(found[name]).shape for name in names}
    if any(shape != shapes[names[0]] or len(shape) != 1 for shape in shapes.values()):
        odd = next(name for name in names if shapes[name] != shapes[names[0]] or len(shapes[name]) != 1)
        raise HardwareError(
            f"`{path}`: `{odd}` has shape {shapes[odd]} and `{names[0]}` {shapes[names[0]]}: give (N,) for each"
        )
    return np.stack([np.atleast_1d(found[name]) for name in names], axis=1)


def _table(found: Evaluated) -> Table:
    """Values with their standard errors, a row per parameter set."""
    rows = found.values.shape[0]
    table = Table(title=f"{found.record['circuit']} on {found.record['backend']}, {found.record['shots']} shots")
    table.add_column("set")
    for terms in found.record["observables"][:_SHOWN]:
        table.add_column(terms[0][0] if terms[0][1] == 1 and len(terms) == 1 else f"sum of {len(terms)}")
    for row in range(min(rows, _SHOWN)):
        cells = zip(found.values[row, :_SHOWN], found.errors[row, :_SHOWN], strict=True)
        table.add_row(str(row), *(f"{value:+.4f} ± {error:.4f}" for value, error in cells))
    hidden = rows > _SHOWN or found.values.shape[1] > _SHOWN
    table.caption = f"the first of {rows} sets and {found.values.shape[1]} observables" if hidden else None
    return table
