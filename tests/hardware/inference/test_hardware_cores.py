"""Cores of other packages on a device: those that a device can stand in for, and those that it cannot."""

from pathlib import Path

import pytest

from hardware.errors import HardwareError
from hardware.inference.reverse_process import ReverseProcess
from qhybrid.checkpoints.checkpoint import Checkpoint
from qhybrid.config import build_config
from qhybrid.models.build import build_model, circuit_spec
from qhybrid.models.cores import QuantumCore
from qhybrid.registry import BOTTLENECK_CORES, Entry, NoOptions


class Same(QuantumCore):
    """Another class, the same outputs."""


class Doubled(QuantumCore):
    """Twice the expectation values, which a device does not give."""

    def forward(self, angles):
        """Evaluate the circuit."""
        return 2 * super().forward(angles)


def process(monkeypatch, core):
    BOTTLENECK_CORES.packages()
    entry = Entry("strange", lambda options, request: core(request), NoOptions, "a-package")
    monkeypatch.setitem(BOTTLENECK_CORES._entries, "strange", [entry])
    values = {"model": {"channels": [8, 8, 8], "time_dim": 8, "bottleneck": {"core": "strange"}}}
    config = build_config({**values, "quantum": {"qubits": 2, "layers": 1}, "diffusion": {"timesteps": 10}})
    checkpoint = Checkpoint(Path(), config, build_model(config, 1).eval(), 0, circuit_spec(config), 1, 8, None)
    return ReverseProcess(checkpoint, 2, [0])


def test_a_core_with_the_circuits_own_outputs_is_taken(monkeypatch):
    assert isinstance(process(monkeypatch, Same).core, Same)


def test_a_core_that_changes_the_outputs_is_refused(monkeypatch):
    with pytest.raises(
        HardwareError, match=r"`strange` makes something of its own of the circuit's expectation values"
    ):
        process(monkeypatch, Doubled)
