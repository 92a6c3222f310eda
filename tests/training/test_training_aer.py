"""Training on the Aer simulator under a device's noise and readout error."""

import pytest
import torch

from qhybrid.checkpoints.checkpoint import load_checkpoint
from qhybrid.config import load_config
from qhybrid.files import read_jsonl
from qhybrid.training.loop import train


def test_one_aer_job_per_step_and_the_loss_falls(root, tmp_path, monkeypatch):
    from qiskit_aer import AerSimulator

    jobs = []
    run = AerSimulator.run
    monkeypatch.setattr(AerSimulator, "run", lambda *args, **options: (jobs.append(1), run(*args, **options))[1])
    steps = 40
    config = load_config(
        root / "configs" / "digits_aer_noise.yaml",
        [
            f"training.steps={steps}",
            "training.batch_size=8",
            "training.learning_rate=1e-2",
            "training.warmup_steps=0",
            "model.channels=[8, 16, 24]",
            "model.time_dim=16",
            "quantum.qubits=2",
        ],
    )
    assert config.quantum.simulator == "aer"
    assert config.quantum.noise is not None
    assert config.quantum.noise.readout_error
    rows = read_jsonl(train(config, tmp_path / "run").train_log)
    assert len(jobs) == steps
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert rows[-1]["gradient_norm"]["circuit"] > 0


def test_a_conditional_model_trained_on_aer_is_the_one_trained_on_the_compiled_simulator(root, tmp_path):
    """Two simulators, two ways to a gradient (parameter shift, adjoint), one model: the label enters by the circuit."""
    overrides = [
        "training.steps=6",
        "training.batch_size=8",
        "training.warmup_steps=0",
        "model.channels=[8, 16, 24]",
        "model.time_dim=16",
        "quantum.qubits=3",
        "quantum.layers=2",
        "quantum.noise={device: fake_manila, readout_error: true}",
    ]
    weights, losses = {}, {}
    for simulator in ("compiled", "aer"):
        settings = [*overrides, f"quantum.simulator={simulator}"]
        run = train(load_config(root / "configs" / "quickstart.yaml", settings), tmp_path / simulator)
        weights[simulator] = load_checkpoint(run.path).model.state_dict()
        losses[simulator] = read_jsonl(run.train_log)[-1]["loss"]
    assert losses["aer"] == pytest.approx(losses["compiled"], rel=1e-5)
    moved = weights["compiled"]["bottleneck.core.layer.weight"]
    torch.testing.assert_close(weights["aer"]["bottleneck.core.layer.weight"], moved, atol=1e-4, rtol=0)
    for name, value in weights["compiled"].items():
        torch.testing.assert_close(weights["aer"][name], value, atol=2e-4, rtol=1e-3, msg=name)


def test_noise_and_readout_error_change_the_layer(root):
    from qhybrid.models.build import build_model

    outputs = {}
    for name, override in {
        "noisy": "name=noisy",
        "without readout error": "quantum.noise.readout_error=false",
        "exact": "quantum.noise=null",
    }.items():
        config = load_config(root / "configs" / "digits_aer_noise.yaml", [override])
        core = build_model(config, 1).bottleneck.core
        with torch.no_grad():
            outputs[name] = core(torch.full((1, 4), 0.3))
    shrinkage = {name: float(value.abs().sum() / outputs["exact"].abs().sum()) for name, value in outputs.items()}
    assert shrinkage["noisy"] < shrinkage["without readout error"] - 0.01 < shrinkage["exact"] - 0.01
    assert shrinkage["exact"] == pytest.approx(1)
