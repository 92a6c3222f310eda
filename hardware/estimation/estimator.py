"""Qiskit's estimator over a device, with what `hardware infer` has: placement, tags, recovery, a budget."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from qiskit.primitives import PrimitiveJob
from qiskit.primitives.base import BaseEstimatorV2
from qiskit.primitives.containers import PrimitiveResult, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub, EstimatorPubLike
from qiskit.providers import BackendV2

from hardware.errors import HardwareError
from hardware.estimation.questions import Question, questions_of
from hardware.estimation.state import EstimatorState, Evaluation
from hardware.jobs.budget import Budget
from hardware.jobs.execution_mode import Echo, silent
from hardware.jobs.job_log import Work, make_work
from hardware.jobs.runner import JobRunner
from hardware.jobs.tasks import Allowance, Bill, Task
from hardware.placement.program import Program, without_idle_qubits
from hardware.placement.transpilation import Transpiled
from hardware.planning.costs import RoundCost, part_sizes, round_cost
from hardware.primitives.execution import Expectations, collect, expected_job
from hardware.primitives.options import RESULT_OPTIONS, job_options
from hardware.service.account import is_local
from hardware.service.backends import LEAST_BUSY, device_name, known_device, open_backend, without_device
from qhybrid.config import HardwareConfig, build_section
from qhybrid.locks import exclusive
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.estimators.pubs import submitted
from qhybrid.rundir import RunDirectory

# Of the configuration's section `hardware`, what an estimator can be told; the rest is of images and their steps.
OPTIONS = (*(name for name in RESULT_OPTIONS if name != "backend"), "fractional_gates", "seed")


@dataclass(frozen=True)
class EstimatorBill:
    """What an estimator has taken so far, earlier processes included.

    Attributes:
        evaluations: Times that something was asked for and sent.
        jobs: Number of jobs that were sent, those that failed included.
        executions: Circuit executions of all evaluations, as planned.
        seconds: Device time of all evaluations in seconds, as planned.
        spent: Device time in seconds that the budget counts: what was charged and, where that is not known yet, what
            may still be; 0 for a local device.
    """

    evaluations: int
    jobs: int
    executions: int
    seconds: float
    spent: float


@dataclass(frozen=True)
class Price:
    """What some pubs will take on the device.

    Attributes:
        jobs: Number of jobs.
        executions: Circuit executions of all of them.
        seconds: Estimated device time in seconds.
    """

    jobs: int
    executions: int
    seconds: float


class DeviceEstimator(BaseEstimatorV2):  # type: ignore[misc]  # qiskit is untyped
    """An estimator of Qiskit's interface whose circuits run on a device; made by `device_estimator`.

    A pub holds a circuit as it was before transpilation; it is placed on the device when it first comes. All pubs of
    one `run` with the same circuit go into one job (several at the service's limits): all their observables at all
    their distinct parameter values. `run` returns when the results are there.

    What is asked for a second time in one process is measured anew. What an earlier process with the same folder asked
    for is taken from its stored results and its jobs, in the order in which it asked: so a program that is started
    again after a kill pays for nothing twice.

    Attributes:
        state: Folder of the estimator.
        backend: Device that circuits are placed on.
    """

    def __init__(
        self,
        spec: CircuitSpec,
        backend: BackendV2,
        state: EstimatorState,
        config: HardwareConfig,
        wait_seconds: float | None,
        echo: Echo,
    ) -> None:
        """Place the circuit; see `device_estimator`.

        Args:
            spec: Circuit that the estimator is for.
            backend: Device, or local copy of one.
            state: Folder of the estimator.
            config: Shots, level and mitigation; the budget is that of the folder.
            wait_seconds: Longest time to wait for one job, in seconds; `None` waits for ever.
            echo: Called with a line about what went wrong and was mended.
        """
        self.state = state
        self.backend = backend
        self._name = spec.name
        self._config = config
        self._wait_seconds = wait_seconds
        self._echo = echo
        self._asked: Counter[str] = Counter()
        with exclusive(state.path):
            self._identity = state.open(spec, backend)
            self.state.place(spec.circuit, spec.name, backend)

    @property
    def shots(self) -> int:
        """Shots per parameter set of a pub that states no precision."""
        return self._config.shots

    @property
    def default_precision(self) -> float:
        """Standard error that goes with the shots, 1 / sqrt(shots)."""
        return 1 / math.sqrt(self._config.shots)

    def run(
        self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None
    ) -> PrimitiveJob[PrimitiveResult[PubResult]]:
        """Evaluate pubs `(circuit, observables, values, precision)`; shapes broadcast as in Qiskit.

        Args:
            pubs: Pubs to be evaluated.
            precision: Precision of pubs that state none; 1 / precision^2 shots in place of the estimator's own.

        Returns:
            A job that is done.

        Raises:
            HardwareError: A job failed, or has not ended in time; the budget or the account's quota does not reach; a
                circuit was transpiled before or does not fit; exact values are asked for.
            CircuitError: A circuit measures, resets or branches.
            TypeError: A pub or a precision of a wrong type, as Qiskit raises it.
            ValueError: Shapes, parameters or observables that do not fit a circuit, as Qiskit raises it.
        """
        questions, asked = questions_of([EstimatorPub.coerce(pub, precision) for pub in pubs], self.shots)
        with exclusive(self.state.path):
            answers = [self._answer(question) for question in questions]
        results = []
        for item in asked:
            evaluation, found = answers[item.question]
            told = {"shots": evaluation.shots, "evaluation": evaluation.number, "backend": self._identity.backend}
            results.append(item.answer(found, told))
        return submitted(lambda _: PrimitiveResult(results, metadata={"version": 2}), [])

    def price(self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None) -> Price:
        """What pubs will take, stored results left out of account; nothing is sent.

        Args:
            pubs: Pubs as for `run`.
            precision: Precision of pubs that state none.

        Raises:
            HardwareError: As for `run`, but for the jobs.
        """
        questions, _ = questions_of([EstimatorPub.coerce(pub, precision) for pub in pubs], self.shots)
        costs = [self._cost(question, self._programs(question)[0]) for question in questions]
        return Price(
            jobs=sum(cost.jobs for cost in costs),
            executions=sum(cost.executions for cost in costs),
            seconds=sum(cost.seconds for cost in costs),
        )

    @property
    def options(self) -> dict[str, Any]:
        """Shots, level and mitigation, JSON-able."""
        return {name: value for name, value in self._config.model_dump().items() if name in OPTIONS}

    def bill(self) -> EstimatorBill:
        """What was asked for and taken so far."""
        sent = [row for row in self.state.log.rows() if row["event"] == "submitted"]
        steps = {row["step"] for row in sent}
        evaluations = [item for item in self.state.evaluations() if item.number in steps]
        return EstimatorBill(
            evaluations=len(evaluations),
            jobs=len({row["job"] for row in sent}),
            executions=sum(item.executions for item in evaluations),
            seconds=sum(item.seconds for item in evaluations),
            spent=self.state.budget.spent(),
        )

    def seconds_left(self) -> float | None:
        """Seconds that are left of the budget; `None` without one. On a local device planned seconds are counted."""
        budget = self.state.budget.seconds()
        if budget is None:
            return None
        local = is_local(self.backend)
        return budget - (
            self.state.log.seconds_spent(self._identity.key, local=True) if local else self.state.budget.spent()
        )

    def untold(self) -> list[str]:
        """Ids of jobs that have ended and whose price the service has not told; they count with their limit."""
        return [] if is_local(self.backend) else self.state.log.uncharged(self._identity.key)

    def _answer(self, question: Question) -> tuple[Evaluation, Expectations]:
        config = self._config_of(question)
        device, executed = self._programs(question)
        evaluation, works = self._works(question, device, config)
        task = Task(
            device=device,
            executed=executed,
            options=lambda work: job_options(config),
            collect=partial(_collect, executed, config),
            title=lambda work: f"evaluation {work.step}",
            settings=self._settings(config),
        )
        known = self._identity
        budget = self.state.budget
        bill = Bill(
            known.key,
            f"estimator-{known.key}",
            known.backend,
            "job",
            budget.seconds(),
            known.calibrated,
            budget.spent,
        )
        allowance = Allowance(new_rounds=None, wait=True, wait_seconds=self._wait_seconds)
        kept = self.state.kept_device()
        reopen = partial(known_device, known.backend, kept, fractional_gates=config.fractional_gates)
        with JobRunner(task, bill, self.state.log, self.state.store, reopen, allowance, self._echo) as runner:
            results = runner.results(works)
        values = np.concatenate([result.values for result in results])
        return evaluation, Expectations(values, np.concatenate([result.errors for result in results]))

    def _programs(self, question: Question) -> tuple[Program, Program]:
        """The question's circuit on the whole device, and what runs: the same, or the simulated part."""
        spec, placed = self.state.place(question.circuit, self._name, self.backend)
        spec = replace(spec, observables=question.observables)
        placed = replace(placed, spec_hash=spec.content_hash())
        try:
            return self._placed_programs(spec, placed, self.backend)
        except HardwareError as error:
            kept = self.state.kept_device()
            if is_local(self.backend) or kept is None:
                raise
            # The device has lost a coupling or a gate since; results of jobs that were sent are of the stored circuit.
            return self._placed_programs(spec, placed, without_device(self.backend, kept, str(error)))

    def _placed_programs(self, spec: CircuitSpec, placed: Transpiled, backend: BackendV2) -> tuple[Program, Program]:
        none = np.zeros(0)
        device = placed.program(spec, none, backend)
        return device, placed.local_program(spec, none, backend) if is_local(backend) else device

    def _works(self, question: Question, device: Program, config: HardwareConfig) -> tuple[Evaluation, list[Work]]:
        """The jobs of a question, named by their content and by how often this process has asked for the same."""
        cost = self._cost(question, device)
        stops = np.cumsum([0, *part_sizes(len(question.points), cost.jobs)])
        parts = [question.points[begin:end] for begin, end in itertools.pairwise(stops)]
        settings = self._settings(config)
        first = make_work(device, 0, 0, question.points, settings).content
        settings["asked"] = self._asked[first]
        seconds = cost.seconds / cost.jobs
        works = [make_work(device, 0, part, angles, settings, seconds) for part, angles in enumerate(parts)]
        evaluations = self.state.evaluations()
        known = next((item for item in evaluations if item.content == works[0].content), None)
        if known is None:
            known = Evaluation(
                number=len(evaluations),
                content=works[0].content,
                sets=len(question.points),
                observables=len(question.observables),
                shots=question.shots,
                jobs=cost.jobs,
                executions=cost.executions,
                seconds=cost.seconds,
            )
            self.state.note(known)
        self._asked[first] += 1
        return known, [replace(work, step=known.number) for work in works]

    def _cost(self, question: Question, device: Program) -> RoundCost:
        return round_cost(without_idle_qubits(device), self._config_of(question), len(question.points))

    def _config_of(self, question: Question) -> HardwareConfig:
        return self._config.model_copy(update={"shots": question.shots})

    def _settings(self, config: HardwareConfig) -> dict[str, Any]:
        """What decides a result beside circuit, parameters and chance."""
        known = self._identity
        named = {name: getattr(config, name) for name in RESULT_OPTIONS}
        seed = {"seed": config.seed} if is_local(self.backend) else {}
        return {**named, "backend": known.backend, "calibrated": known.calibrated, "draw": known.draw, **seed}


def _collect(executed: Program, config: HardwareConfig, job: Any, work: Work) -> Expectations:
    expected = expected_job(executed, work.angles, job_options(config))
    return collect(job, expected, executed.num_outputs, len(work.angles))


def device_estimator(
    spec: CircuitSpec,
    backend: str | BackendV2,
    *,
    folder: str | Path,
    budget: float | None = None,
    payer: RunDirectory | None = None,
    wait_seconds: float | None = None,
    echo: Echo = silent,
    **options: Any,
) -> DeviceEstimator:
    """An estimator of Qiskit's interface over a device, to train or evaluate a circuit there.

    `QuantumLayer(build_qnn(spec, device_estimator(spec, backend, folder=...)))` trains on the device. The circuit is
    placed as `hardware infer` places it; of a device's local copy the qubits that it uses are simulated. Jobs are sent
    one evaluation at a time, carry tags by which they are found again, and are paid for once, also if the program is
    killed and started again with the same folder.

    Args:
        spec: Circuit that will be evaluated; others that are made of it, as shifted ones are, are placed as they come.
        backend: Device, local copy of one, or simulator: its name as `hardware.open_backend` takes it, or itself.
        folder: Folder of the budget, the jobs and their results; what it holds is gone on with.
        budget: Most seconds of device time that all evaluations of the folder may take in all, earlier processes
            included. A real device needs one; by default that of the folder.
        payer: Run directory whose budget it is, all its own jobs included; `folder` then lies below its `hardware/`. By
            default the folder has a budget of its own.
        wait_seconds: Longest time to wait for one job, in seconds; `None` waits for ever.
        echo: Called with a line about what went wrong and was mended.
        options: Keys of the configuration's section `hardware`: `shots` (1024), `level` (0), `primitive`, `seed` and
            the options of mitigation.

    Raises:
        HardwareError: Unknown backend, a circuit that does not fit, a real device without a budget, a folder of another
            circuit or device.
        ConfigError: An option that an estimator does not have, or its value.
        RunDirectoryError: The folder is in use by another process, or damaged.
    """
    config = estimator_config(options)
    if budget is not None and not (math.isfinite(budget) and budget > 0):
        raise HardwareError(f"budget {budget:g}: give a positive number of seconds, or leave it out for no limit")
    state = EstimatorState(folder, payer)
    if backend == LEAST_BUSY and not state.begun:
        backend = open_backend(backend, fractional_gates=config.fractional_gates, qubits=spec.num_qubits)
    elif isinstance(backend, str):
        name = state.chosen_device() if backend == LEAST_BUSY else backend
        backend = known_device(name, state.kept_device(), fractional_gates=config.fractional_gates)
    if not is_local(backend) and budget is None and state.budget.seconds() is None:
        raise HardwareError(
            f"`{device_name(backend)}` is a real device: name the seconds that may be taken there in all by `budget` "
            "(--budget-seconds)"
        )
    estimator = DeviceEstimator(spec, backend, state, config, wait_seconds, echo)
    state.budget.promise(Budget(budget))
    return estimator


def estimator_config(options: dict[str, Any]) -> HardwareConfig:
    """Options of an estimator, validated.

    Args:
        options: Keys of the configuration's section `hardware`; those of `OPTIONS` are allowed.

    Raises:
        HardwareError: Another key.
        ConfigError: A value that is not allowed.
    """
    foreign = sorted(set(options) - set(OPTIONS))
    if foreign:
        raise HardwareError(f"an estimator has no option `{foreign[0]}`: it takes {', '.join(OPTIONS)}")
    return build_section(HardwareConfig, options, "options of the estimator")
