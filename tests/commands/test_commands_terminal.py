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


def test_an_evaluation_that_cannot_work_is_refused_before_the_training(tmp_path, command):
    import numpy as np

    rng = np.random.default_rng(0)
    sets = {"few": (rng.integers(0, 2, 5), "5 test images"), "one": (np.zeros(20, int), "1 class")}
    for name, (labels, reason) in sets.items():
        images = rng.integers(0, 256, (len(labels), 8, 8), dtype=np.uint8)
        np.savez(
            tmp_path / f"{name}.npz",
            train_images=rng.integers(0, 256, (20, 8, 8), dtype=np.uint8),
            train_labels=np.zeros(20, int) if name == "one" else rng.integers(0, 2, 20),
            test_images=images,
            test_labels=labels,
        )
        path = tmp_path / "config.yaml"
        data = {"name": "npz", "path": str(tmp_path / f"{name}.npz")}
        path.write_text(yaml.safe_dump(TINY | {"data": data, "sampling": {}, "evaluation": {}}))
        code, _, err = command("train", path, "--out", tmp_path / "run")
        assert code == 2
        assert reason in err
        assert len(err.strip().splitlines()) == 1
        assert not (tmp_path / "run").exists()
    path.write_text(yaml.safe_dump(TINY | {"sampling": {"images": 9}, "evaluation": {}}))
    code, _, err = command("train", path, "--out", tmp_path / "run")
    assert (code, "sampling.images: 9" in err) == (2, True)
