"""`qhybrid run` opens the device of its stages once."""

import sys
from pathlib import Path

import pytest

from hardware.service import backends
from qhybrid.commands import main as cli


def test_a_run_with_bank_and_hardware_opens_its_local_device_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    original = backends.snapshot

    def counted(name: str) -> object:
        opened.append(name)
        return original(name)

    monkeypatch.setattr(backends, "snapshot", counted)
    settings = {
        "quantum.qubits": 2,
        "quantum.layers": 1,
        "model.channels": "[8, 8, 8]",
        "data.n_train": 20,
        "training.steps": 2,
        "training.batch_size": 4,
        "sampling": "null",
        "evaluation": "null",
        "report": "false",
        "hardware": "{backend: fake_manila, images: 1, steps: 1, qpu_steps: [0], shots: 16, pack: 1}",
    }
    overrides = [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
    config = root / "configs" / "quickstart.yaml"
    monkeypatch.setattr(sys, "argv", ["qhybrid", "run", str(config), *overrides, "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code in (0, None)
    assert (tmp_path / "run" / "hardware" / "comparison.json").exists()
    assert opened == ["fake_manila"]
