"""Data that were replaced, full disks and second processes: one line, exit code 2, and what was there stays."""

import io
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from qhybrid.benchmarks.turns import Worker
from qhybrid.commands.main import main
from qhybrid.config import build_config
from qhybrid.diffusion.bank import BankRecord, write_bank
from qhybrid.errors import QHybridError, RunDirectoryError
from qhybrid.files import sha256_of, write_json
from qhybrid.training.loop import Trainer, train

TINY = {
    "name": "tiny",
    "model": {"channels": [8, 8, 8], "time_dim": 8},
    "quantum": {"qubits": 2, "layers": 1},
    "diffusion": {"timesteps": 20},
    "training": {"steps": 4, "batch_size": 4, "checkpoint_every": 2, "log_every": 1, "device": "cpu"},
    "sampling": {"images": 12, "steps": 2},
}
HOLD = """
import sys, time
from pathlib import Path
from qhybrid.locks import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(300)
"""


def images(path, seed):
    rng = np.random.default_rng(seed)
    arrays = {}
    for split in ("train", "test"):
        arrays[f"{split}_images"] = rng.integers(0, 256, (20, 8, 8), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(20) % 2
    np.savez(path, **arrays)


def refused(answer, *reasons):
    code, _, err = answer
    assert code == 2, err
    (line,) = [line for line in err.strip().splitlines() if line.startswith("error: ")]
    assert "Traceback" not in err
    for reason in reasons:
        assert reason in line


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def full_disk(size):
    """No file may grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def on_full_disk(monkeypatch):
    """Run the command line where no file may grow beyond `size` bytes; pytest's own capture is in files as well."""

    def run(size, *arguments):
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "argv", ["qhybrid", *map(str, arguments)])
        with full_disk(size), redirect_stdout(out), redirect_stderr(err):
            try:
                main()
                code = 0
            except SystemExit as stop:
                code = stop.code
        return code or 0, out.getvalue(), err.getvalue()

    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished training; tests work on copies of it."""
    return train(build_config(TINY), tmp_path_factory.mktemp("whole") / "run").path


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


def test_a_run_knows_its_data_and_its_bank(tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images(tmp_path / "images.npz", 0)
    record = BankRecord("own", "gaussian", (20_000,), {"resolution": 12}, {"backend": "none"}, "")
    write_bank(tmp_path / "bank.npz", record, [np.random.default_rng(0).integers(0, 4096, 20_000)])
    noise = {"source": "gaussian", "bank": "bank.npz", "accept": ["own"]}
    settings = TINY | {
        "data": {"name": "npz", "path": "images.npz"},
        "diffusion": {"timesteps": 20, "noise": noise},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    assert command("train", path, "--out", "run")[0] == 0
    (tmp_path / "elsewhere").mkdir()
    images(tmp_path / "elsewhere" / "images.npz", 1)
    monkeypatch.chdir(tmp_path / "elsewhere")
    run = tmp_path / "run"
    # The set that the run was made from is found from any folder.
    assert command("sample", run)[0] == 0
    before = content(run)
    stages = [
        ("sample", run),
        ("evaluate", run),
        ("report", run),
        ("train", path, "--out", run, "--resume"),
        ("run", path, "--out", run, "--resume"),
        ("hardware", "plan", run, "--backend", "aer"),
    ]
    for name in ("images.npz", "bank.npz"):
        file = tmp_path / name
        good, old = file.read_bytes(), sha256_of(file)
        if name == "images.npz":
            images(file, 1)
        else:
            file.write_bytes(good[:20_000] + bytes(15_000) + good[35_000:])
        for stage in stages:
            refused(command(*stage), old, sha256_of(file))
        file.write_bytes(good)
    assert content(run) == before


def test_resume_without_a_folder_is_refused_and_names_the_newest(tmp_path, command, config, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("train", "run"):
        refused(command(name, config, "--resume"), "--out")
    (tmp_path / "runs" / "tiny-1").mkdir(parents=True)
    refused(command("train", config, "--resume"), "runs/tiny-1")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["tiny-1"]


def test_no_command_works_where_another_process_does(tmp_path, command, config, whole):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        before = content(run)
        device = ("--backend", "aer", "--images", "2", "--steps", "2", "--shots", "16")
        for stage in (
            ("train", config, "--out", run, "--resume"),
            ("run", config, "--out", run, "--resume"),
            ("sample", run),
            ("evaluate", run),
            ("report", run),
            ("noise", "compare", run, "--device", "fake_manila"),
            ("hardware", "transpile", run, "--backend", "aer"),
            ("hardware", "plan", run, *device),
            ("hardware", "submit", run, *device),
            ("hardware", "infer", run, *device),
            ("hardware", "fetch", run),
            ("hardware", "compare", run),
        ):
            refused(command(*stage), f"process {process.pid} on {os.uname().nodename}")
        assert content(run) == before
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert command("sample", run)[0] == 0
        assert command("hardware", "plan", run, *device)[0] == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_full_disk_at_a_checkpoint_keeps_the_last_one_and_resume_goes_on(
    tmp_path, command, config, whole, monkeypatch
):
    run, save = tmp_path / "run", Trainer.save

    def save_on_full_disk(trainer, directory):
        with full_disk(5000 if trainer.step == 4 else 10**9):
            save(trainer, directory)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", save_on_full_disk)
        refused(command("train", config, "--out", run), "step-4", "File too large", "--resume")
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-2"]
    assert command("train", config, "--out", run, "--resume")[0] == 0
    for name in ("model", "ema"):
        file = f"checkpoints/step-4/{name}.safetensors"
        ours, theirs = load_file(run / file), load_file(whole / file)
        assert all(bool((ours[key] == theirs[key]).all()) for key in theirs)


@pytest.mark.parametrize("size", [60, 700])
def test_a_full_disk_at_the_start_leaves_a_folder_that_can_be_taken(tmp_path, command, on_full_disk, config, size):
    run = tmp_path / "run"
    refused(on_full_disk(size, "train", config, "--out", run), "File too large")
    assert not (run / "config.yaml").exists()
    assert command("train", config, "--out", run)[0] == 0


@pytest.mark.parametrize("size", [60, 20_000])
def test_a_full_disk_in_any_later_stage_loses_nothing(tmp_path, command, on_full_disk, whole, size):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    device = ("--backend", "aer", "--images", "2", "--steps", "2", "--shots", "16", "--qpu-steps", "all")
    stages = {
        ("sample", run): (),
        ("report", run): (),
        ("hardware", "infer", run, *device): ("--resume",),
        ("noise", "make", "--out", tmp_path / "bank.npz", "--numbers", "10000", "--qubits", "4"): (),
    }
    for stage, again in stages.items():
        before = content(tmp_path)
        answer = on_full_disk(size, *stage)
        if answer[0] != 0:
            refused(answer, "File too large")
        after = content(tmp_path)
        assert before.keys() <= after.keys()
        assert not [path for path in tmp_path.rglob(".*") if path.name != ".lock"]
        if answer[0] != 0:
            assert command(*stage, *again)[0] == 0


def test_a_full_disk_in_a_study_is_said_in_one_line(tmp_path, on_full_disk):
    base = {key: value for key, value in TINY.items() if key != "name"}
    path, out = tmp_path / "study.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump({"name": "s", "base": base, "seeds": [0]}))
    for size in (60, 6000):
        refused(on_full_disk(size, "study", path, "--out", out), "File too large")
    assert not (out / "runs" / "base" / "seed-0" / "cell.json").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full is Linux's")
def test_output_into_a_full_disk_is_one_line():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "qhybrid", "config", "schema"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "error: the output cannot be written: No space left on device; make room and run it again\n"


BENCH = ("bench", "layer", "--qubits", "2", "--no-peers", "--no-growth", "--repeats", "1")


def ended(done):
    """The only line of a command that met a full disk."""
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full is Linux's")
@pytest.mark.parametrize("arguments", [BENCH, ("--help",), ("doctor",), ("config", "reference")])
def test_every_output_into_a_full_disk_is_one_line(arguments):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "qhybrid", *arguments], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert "No space left on device" in ended(done)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full is Linux's")
def test_an_error_that_finds_no_room_for_its_line_keeps_its_code(tmp_path):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-m", "qhybrid", "report", tmp_path], stderr=full)
    assert done.returncode == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full is Linux's")
def test_a_device_is_written_to_and_stays_a_device():
    with pytest.raises(RunDirectoryError, match="No space left"):
        write_json(Path("/dev/full"), {"x": "y" * 10})
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    write_json(Path("/dev/null"), {})
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_benchmark_whose_file_cannot_be_written_is_refused_before_it_is_measured(tmp_path, command):
    (tmp_path / "file").touch()
    code, said, err = command(*BENCH, "--json", tmp_path / "file" / "x.json")
    assert (code, said) == (2, "")
    assert "is no folder" in err
    assert len(err.splitlines()) == 1


def test_a_contender_that_ends_is_one_line():
    program = "raise OSError(28, 'No space left on device')"
    with Worker(program, 1) as worker, pytest.raises(QHybridError) as caught:
        worker.start()
    assert str(caught.value) == "a contender of the benchmark ended: OSError: [Errno 28] No space left on device"


def test_a_bank_too_small_for_a_certificate_is_refused_before_it_is_made(tmp_path, command):
    for source in ("gaussian", "quantum_bits"):
        made = command("noise", "make", "--out", tmp_path / "bank.npz", "--source", source, "--numbers", 6249)
        refused(made, "6,249 numbers", "6,250")
    few = ("--source", "quantum_intrinsic", "--qubits", 4, "--numbers", 7996)
    refused(command("noise", "make", "--out", tmp_path / "bank.npz", *few), "7,996 numbers", "2,000", "7,997")
    assert not list(tmp_path.iterdir())
