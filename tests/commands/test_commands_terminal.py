"""What the command line prints where the terminal's encoding is small."""

import os
import subprocess
import sys

import pytest
import yaml

TINY = {"name": "tiny", "quantum": {"qubits": 2, "layers": 1}}


# Click writes UTF-8 where Python says ASCII, which it takes for a misconfigured environment.
@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_inspect_prints_on_a_terminal_without_line_drawing(tmp_path, encoding):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(TINY))
    code = "import sys; sys.modules['fcntl'] = None; from qhybrid.commands.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "inspect", str(path)],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding)
    assert "Traceback" not in done.stderr.decode(encoding)
    assert "q_0: +" in text
    assert "\\u" not in text


COMMANDS = """
import sys, warnings
sys.modules['fcntl'] = None
warnings.simplefilter("ignore")
warnings.filterwarnings("error", category=EncodingWarning, module="qhybrid|hardware")
from qhybrid.commands.main import main
for line in sys.stdin.buffer.read().decode("utf-8").splitlines():
    sys.argv = ["qhybrid", *line.split("|")]
    try:
        main()
    except SystemExit as end:
        print("ended", sys.argv[1:3], end.code, file=sys.stderr, flush=True)
"""


def test_every_stage_works_on_a_small_terminal_and_without_fcntl(tmp_path):
    run = tmp_path / "run"
    sections = {
        "model": {"channels": [8, 8, 8], "time_dim": 8},
        "diffusion": {"timesteps": 20},
        "training": {"steps": 2, "batch_size": 4, "device": "cpu"},
        "sampling": {"images": 10, "steps": 2},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(TINY | sections), encoding="utf-8")
    commands = (
        ("train", tmp_path / "config.yaml", "--out", run),
        ("hardware", "infer", run, "--backend", "fake_manila", "--images", 2, "--steps", 2, "--shots", 16),
        ("report", run),
        ("noise", "make", "--source", "gaussian", "--numbers", 7000, "--out", tmp_path / "bank.npz"),
        ("config", "reference"),
        # A mistake whose line quotes what the encoding lacks.
        ("train", tmp_path / "⟨Z⟩.yaml"),
    )
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", COMMANDS],
        input="\n".join("|".join(map(str, line)) for line in commands).encode("utf-8"),
        env=os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
        capture_output=True,
    )
    said = done.stderr.decode("cp1252")
    ends = [line for line in said.splitlines() if line.startswith("ended")]
    assert len(ends) == len(commands), said
    assert [line.split()[-1] for line in ends[:-1]] == ["0"] * (len(commands) - 1), said
    assert ends[-1].endswith(" 2")
    assert "Traceback" not in said
    assert (run / "report.html").exists()
    done.stdout.decode("cp1252")
