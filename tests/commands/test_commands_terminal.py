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
