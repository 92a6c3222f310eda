"""A bank from a device in a configuration: drawn before the training, or by its own command, and then used."""

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hardware_runs import Command

from hardware.noise.draw import work_folder
from qhybrid.commands import main as cli
from qhybrid.config import load_config
from qhybrid.diffusion.bank import read_record
from qhybrid.errors import ConfigError

TINY = {
    "noise_bank.backend": "fake_manila",
    "noise_bank.normals": 6_250,
    "noise_bank.extractor": "toeplitz",
    "noise_bank.max_readout_error": 0.2,
    "model.channels": "[8, 8, 8]",
    "model.bottleneck.core": "none",
    "data.n_train": 20,
    "training.steps": 2,
    "training.batch_size": 4,
    "sampling.images": 3,
    "sampling.steps": 2,
    "report": "false",
}


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """`qhybrid ...` in this process: exit code and stderr."""
    monkeypatch.setattr(sys, "argv", ["qhybrid", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0), capsys.readouterr().err


def settings(**others: object) -> list[str]:
    given = {**TINY, **{key.replace("__", "."): value for key, value in others.items()}}
    return [text for key, value in given.items() for text in ("--set", f"{key}={value}")]


def test_the_configuration_draws_its_bank_and_uses_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = root / "configs" / "hardware" / "noise_bank.yaml"
    # Training draws from the bank as well here, which the configuration itself leaves to the latents.
    both = settings(diffusion__noise__forward="true", diffusion__noise__device="fake_manila")
    code, err = run(monkeypatch, capsys, "run", config, *both, "--dry-run")
    assert code == 0, err
    assert not list(tmp_path.iterdir())
    code, err = run(monkeypatch, capsys, "run", config, *both, "--out", "run")
    assert code == 0, err
    record = read_record(Path("noise_bank.npz"))
    assert record.provenance["backend"] == "fake_manila"
    # Two batches of four images of 8 x 8 pixels, and three latents.
    assert sorted(record.drawn.values()) == [3 * 64, 2 * 4 * 64]
    with np.load("run/samples/images.npz") as file:
        assert file["images"].shape == (3, 8, 8)
    # The bank is there, so another run takes it as it is.
    code, err = run(monkeypatch, capsys, "run", config, *settings(), "--out", "again")
    assert code == 0, err
    assert read_record(Path("noise_bank.npz")).checksum == record.checksum


def test_the_command_takes_the_configuration_and_its_options_win(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    config = root / "configs" / "hardware" / "noise_bank.yaml"
    options = ["--backend", "fake_manila", "--normals", 6250, "--max-readout-error", "0.2"]
    code, out, err = command("noise", "--config", config, *options, "--dry-run")
    assert (code, err) == (0, "")
    assert "fake_manila" in out
    assert "6,250" in out
    assert "60 s" in out
    assert list(tmp_path.iterdir()) == []
    code, _, err = command("noise", "--config", config, *options)
    assert code == 0, err
    assert Path("noise_bank.npz").exists()
    code, _, err = command("noise", "--config", root / "configs" / "quickstart.yaml")
    assert code == 2
    assert "has no section `noise_bank`" in err


def test_a_real_device_is_not_drawn_from_by_run(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], service: object
) -> None:
    monkeypatch.chdir(tmp_path)
    config = root / "configs" / "hardware" / "noise_bank.yaml"
    code, err = run(monkeypatch, capsys, "run", config, *settings(noise_bank__backend="ibm_manila"), "--out", "run")
    assert code == 2
    assert "with `qhybrid hardware noise --yes`" in err
    assert not Path("run").exists()
    assert not work_folder(Path("noise_bank.npz")).exists()


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ({"source": "gaussian"}, "`noise_bank` (source quantum_bits) draws the file that `diffusion.noise.bank` names"),
        ({"source": "quantum_intrinsic", "bank": "b.npz"}, "found `bank: b.npz` and `source: quantum_intrinsic`"),
    ],
)
def test_a_bank_that_nothing_uses_is_refused(tmp_path: Path, noise: dict[str, str], message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"noise_bank": {}, "diffusion": {"noise": noise}}))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert message in str(caught.value)
