"""The circuit's weights, tuned on the device by stochastic gradients of the denoising loss.

The gradient is taken through a `QuantumLayer` over an estimator on the device. The network around the circuit is
differentiated exactly; the circuit by simultaneous perturbation (Spall 1992), three evaluations for each distinct
circuit however many weights there are, each circuit along directions of its own. Adam makes the step. Nothing but the
circuit's weights moves.

Now and then the loss on held-out images is measured, with the same images, times and noise each time. In the end the
weights of the smallest such loss are kept, if it lies below that of the start by more than the standard error of the
difference, circuit by circuit; else the weights stay as they were.

Weights, moments and losses are stored after each step, and the angles that are asked for next before they are sent. So
a process that was killed is gone on from to the same weights, and pays for nothing twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardware.arrays import read_arrays
from hardware.errors import BudgetError, HardwareError
from hardware.estimation.estimator import DeviceEstimator, Price
from hardware.jobs.execution_mode import Echo
from hardware.jobs.job_log import seconds_taken
from hardware.service.account import is_local
from hardware.tuning.images import Sight, TuningImages
from qhybrid.files import atomic_path
from qhybrid.models.unet import UNet
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.layer.layer import QuantumLayer
from qhybrid.quantum.layer.networks import build_qnn
from qhybrid.quantum.layer.spsa import Spsa
from qhybrid.seeds import plain_generator

Array = NDArray[np.float32]

# Steps between two looks at the held-out images.
LOOK_EVERY = 5
# Radians: of the shots' scatter in a slope, half as much remains as at the 0.1 of exact values.
EPSILON = 0.2


@dataclass
class TuningState:
    """What is stored after each step.

    Attributes:
        step: Steps that were made.
        weights: Weights of the circuit in radians, `(n_weights,)`.
        mean: Adam's running mean of the gradient, `(n_weights,)`.
        square: Adam's running mean of its squares, `(n_weights,)`.
        looks: Losses of the held-out images by circuit at each look, `(n_looks, D)`.
        looked: Weights at each look, `(n_looks, n_weights)`.
        history: A row for each step and look, JSON-able: `step` (steps made before), `kind` (`step` or `held out`),
            `loss`, `executions` and `seconds` (planned), `taken` (seconds that the budget counts) and `jobs`.
        angles: Angles that were asked for and not answered yet, `(D, n_in)` in radians; `None` between two questions.
    """

    step: int
    weights: Array
    mean: Array
    square: Array
    looks: NDArray[np.float64]
    looked: Array
    history: list[dict[str, Any]] = field(default_factory=list)
    angles: NDArray[np.float64] | None = None

    @classmethod
    def start(cls, weights: Array) -> TuningState:
        """Before the first step."""
        none = np.zeros((0, len(weights)), dtype=np.float32)
        return cls(0, weights, np.zeros_like(weights), np.zeros_like(weights), np.zeros((0, 0)), none)

    def save(self, path: Path) -> None:
        """Write an npz file, atomically."""
        arrays = {name: getattr(self, name) for name in ("weights", "mean", "square", "looks", "looked")}
        if self.angles is not None:
            arrays["angles"] = self.angles
        with atomic_path(path) as temporary:
            np.savez(temporary, step=np.array(self.step), history=np.array(json.dumps(self.history)), **arrays)

    @classmethod
    def load(cls, path: Path) -> TuningState:
        """Read it back.

        Raises:
            HardwareError: Damaged.
        """
        names = ("step", "weights", "mean", "square", "looks", "looked", "history")
        stored = read_arrays(path, names, optional=("angles",))
        try:
            history = json.loads(str(stored["history"]))
            arrays = {name: stored[name] for name in names[1:-1]}
            state = cls(int(stored["step"]), **arrays, history=history, angles=stored.get("angles"))
            shapes = {state.weights.shape, state.mean.shape, state.square.shape, state.looked.shape[1:]}
            looks = sum(row["kind"] == "held out" for row in history)
            sound = len(shapes) == 1 and looks == len(state.looks) == len(state.looked)
            sound = sound and state.step == len(history) - looks
        except (ValueError, TypeError, KeyError, IndexError):
            sound = False
        if not sound:
            raise HardwareError(f"`{path}` holds no state of a tuning: remove it")
        return state


class WeightTuning:
    """Steps of a circuit's weights on a device.

    Args:
        model: Network whose circuit is tuned.
        spec: Circuit whose weights are tuned, with its observables.
        weights: Weights of the circuit to start from in radians, `(n_weights,)`.
        images: What the steps look at.
        estimator: Estimator over the device.
        learning_rate: Adam's learning rate in radians: about as far as a weight moves in a step.
        path: File of the state.
        echo: Called with a line for each look at the held-out images.
    """

    def __init__(
        self,
        model: UNet,
        spec: CircuitSpec,
        weights: NDArray[np.float64],
        images: TuningImages,
        estimator: DeviceEstimator,
        learning_rate: float,
        path: Path,
        echo: Echo,
    ) -> None:
        self._model = model.requires_grad_(False)
        self._spec, self._images, self._estimator = spec, images, estimator
        self._path, self._echo = path, echo
        self.state = TuningState.load(path) if path.exists() else TuningState.start(weights.astype(np.float32))
        qnn = build_qnn(spec, estimator)
        self._layer = QuantumLayer(qnn, self.state.weights, gradient=Spsa(epsilon=EPSILON)).float()
        self._optimizer = torch.optim.Adam(self._layer.parameters(), lr=learning_rate)
        self._held = images.held_out()

    def price(self, steps: int) -> Price:
        """What is left to be asked for, up to a number of steps."""
        kinds = list(self._left(steps))
        sets = {"step": 3 * len(self._images.step(0).angles), "held out": len(self._held.angles)}
        parts = {kind: self._price(sets[kind]) for kind in set(kinds)}
        return Price(
            jobs=sum(parts[kind].jobs for kind in kinds),
            executions=sum(parts[kind].executions for kind in kinds),
            seconds=sum(parts[kind].seconds for kind in kinds),
        )

    def run(self, steps: int) -> str | None:
        """Make the steps that are left.

        Returns:
            Why it stopped before the last one: the budget does not reach; `None` if it did not.

        Raises:
            HardwareError: A job failed, or has not ended in time.
        """
        try:
            for kind in list(self._left(steps)):
                self._look() if kind == "held out" else self._make()
        except BudgetError as error:
            if not len(self.state.looks):
                raise
            # The rest of the line names an option that this command does not have.
            return str(error).split("; ")[0]
        return None

    def best(self) -> tuple[Array, dict[str, Any]]:
        """The weights that are kept, and what stands for them.

        Returns:
            Weights `(n_weights,)` in radians; and JSON-able `kept`, `step` (after which the kept weights were looked
            at), `loss` on held-out images at the `start` and of the best, `difference` and its `standard_error`.
        """
        looks = self.state.looks
        place = int(np.argmin(looks.mean(axis=1)))
        difference = looks[place] - looks[0]
        error = float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else 0.0
        kept = bool(place and difference.mean() < -error)
        made = [row["step"] for row in self.state.history if row["kind"] == "held out"]
        record = {
            "kept": kept,
            "step": made[place] if kept else 0,
            "loss": {"start": float(looks[0].mean()), "best": float(looks[place].mean())},
            "difference": float(difference.mean()),
            "standard_error": error,
            "circuits": len(difference),
        }
        return self.state.looked[place if kept else 0], record

    def _left(self, steps: int) -> Iterator[str]:
        """What is still to be asked for, in order."""
        looked = {row["step"] for row in self.state.history if row["kind"] == "held out"}
        for step in range(self.state.step, steps + 1):
            if step not in looked and (step % LOOK_EVERY == 0 or step == steps):
                yield "held out"
            if step < steps:
                yield "step"

    def _make(self) -> None:
        state, weight = self.state, self._layer.weight
        self._optimizer.zero_grad()
        loss = self._losses(self._images.step(state.step)).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        moments = {"exp_avg": state.mean, "exp_avg_sq": state.square}
        self._optimizer.state[weight] = {name: torch.from_numpy(values) for name, values in moments.items()}
        self._optimizer.state[weight]["step"] = torch.tensor(float(state.step))
        self._optimizer.step()
        made = self._optimizer.state[weight]
        state.weights = weight.detach().numpy().copy()
        state.mean, state.square = (made[name].numpy().copy() for name in moments)
        self._note("step", float(loss.detach()))

    @torch.no_grad()
    def _look(self) -> None:
        rows = self._held.rows.numpy()
        losses = np.bincount(rows, self._losses(self._held).double().numpy()) / np.bincount(rows)
        state = self.state
        state.looks = np.concatenate([state.looks.reshape(-1, len(losses)), losses[None]])
        state.looked = np.concatenate([state.looked, state.weights[None]])
        self._note("held out", float(losses.mean()))
        self._echo(f"after {state.step} steps: loss on held-out images {losses.mean():.4f}")

    def _losses(self, sight: Sight) -> Tensor:
        """Squared error of each image, `(B,)`, with the circuit on the device."""
        state = self.state
        if state.angles is None:
            state.angles = sight.angles
            state.save(self._path)
        if state.angles.shape != sight.angles.shape:
            raise HardwareError(
                f"`{self._path}` was begun with other circuits than are found here: go on where it was begun"
            )
        with torch.no_grad():
            self._layer.weight.copy_(torch.from_numpy(state.weights))
        outputs = self._layer(torch.from_numpy(state.angles).float())
        found = self._model.decode(sight.encoded, outputs[sight.rows])
        return (found - sight.target).square().mean(dim=(1, 2, 3))

    def _note(self, kind: str, loss: float) -> None:
        """Store what was asked for and answered, with its bill."""
        state, number = self.state, len(self.state.history)
        evaluation = self._estimator.state.evaluations()[number]
        rows = [row for row in self._estimator.state.log.rows() if row.get("step") == number]
        state.history.append(
            {
                "step": state.step,
                "kind": kind,
                "loss": loss,
                "executions": evaluation.executions,
                "seconds": evaluation.seconds,
                "taken": 0.0 if is_local(self._estimator.backend) else seconds_taken(rows, time.time()),
                "jobs": list(dict.fromkeys(row["job"] for row in rows if row["event"] == "submitted")),
            }
        )
        state.step += kind == "step"
        state.angles = None
        state.save(self._path)

    def _price(self, sets: int) -> Price:
        """What one question with so many parameter sets will take."""
        count = len(self._spec.inputs) + len(self._spec.weights)
        points = plain_generator(0).uniform(-1, 1, (sets, count))
        names = tuple(item.name for item in (*self._spec.inputs, *self._spec.weights))
        observables = [[item] for item in self._spec.observables]
        return self._estimator.price([(self._spec.circuit, observables, {names: points})])
