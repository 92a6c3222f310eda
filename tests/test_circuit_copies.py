"""A run keeps copies of the user's own circuit and observables, and goes on from them."""

import json

import numpy as np
import pytest
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import ParameterVector

from qhybrid.checkpoints.checkpoint import load_checkpoint
from qhybrid.config import build_config
from qhybrid.errors import CircuitError, RunDirectoryError
from qhybrid.sampling.generate import sample
from qhybrid.training.loop import train


def write_circuit(path, angle=0.0):
    x, w = ParameterVector("x", 2), ParameterVector("w", 2)
    circuit = QuantumCircuit(2)
    for i in range(2):
        circuit.ry(x[i] + angle, i)
    circuit.cx(0, 1)
    for i in range(2):
        circuit.ry(w[i], i)
    with path.open("wb") as stream:
        qpy.dump(circuit, stream)


@pytest.fixture(params=["quantum"])
def config(tmp_path, request):
    write_circuit(tmp_path / "mine.qpy")
    (tmp_path / "mine.json").write_text(json.dumps(["ZI", "IZ", {"XX": 0.5}]))
    ansatz = {"file": str(tmp_path / "mine.qpy"), "inputs": "x", "observables": str(tmp_path / "mine.json")}

    return build_config(
        {
            "data": {"n_train": 16},
            "model": {"channels": [8, 8, 8], "time_dim": 8, "bottleneck": {"core": request.param}},
            "quantum": {"ansatz": ansatz},
            "diffusion": {"timesteps": 10},
            "training": {"steps": 2, "batch_size": 8, "checkpoint_every": 2, "device": "cpu"},
            "sampling": {"steps": 2, "images": 8},
        }
    )


@pytest.mark.parametrize("config", ["quantum", "se"], indirect=True)
def test_a_run_is_sampled_and_resumed_without_the_originals(tmp_path, config):
    run = train(config, tmp_path / "run")
    for name in ("mine.qpy", "mine.json"):
        assert (run.path / "circuit" / name).read_bytes() == (tmp_path / name).read_bytes()
    assert run.config() == config
    for name in ("mine.qpy", "mine.json"):
        (tmp_path / name).unlink()
    checkpoint = load_checkpoint(run.path)
    if config.model.bottleneck.core.name == "quantum":
        assert (checkpoint.spec.num_qubits, checkpoint.spec.num_outputs) == (2, 3)
    images = sample(run)
    assert images.shape == (8, 8, 8)
    assert train(config, run.path, resume=True).path == run.path
    moved = run.path.rename(tmp_path / "elsewhere")
    np.testing.assert_array_equal(sample(moved), images)


def test_a_file_that_has_changed_is_refused(tmp_path, config):
    run = train(config, tmp_path / "run")
    write_circuit(tmp_path / "mine.qpy", angle=0.5)
    with pytest.raises(RunDirectoryError, match=r"mine\.qpy` has changed since the run .*run` was begun"):
        train(config, run.path, resume=True)


def test_nothing_is_made_where_the_file_is_missing(tmp_path, config):
    (tmp_path / "mine.qpy").unlink()
    with pytest.raises(CircuitError, match=r"mine\.qpy` cannot be read: No such file"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
