"""The README's Python runs, and its commands and configurations exist."""

import re
import subprocess
import sys


def test_python_blocks_run(root):
    blocks = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        answer = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, timeout=120)
        assert answer.returncode == 0, answer.stderr


def test_files_and_commands_that_it_names_exist(root):
    text = (root / "README.md").read_text()
    for name in re.findall(r"`(?:configs/)?([\w/]+\.yaml)`", text):
        assert (root / "configs" / name).is_file(), name
    for name in re.findall(r"\]\((notebooks/[^)]+)\)", text):
        assert (root / name).is_file(), name
    for group, pattern in (((), r"^qhybrid (\w+)"), (("hardware",), r"^qhybrid hardware (\w+)")):
        commands = set(re.findall(pattern, text, re.MULTILINE)) - {"hardware"}
        help_text = subprocess.run(
            [sys.executable, "-m", "qhybrid", *group, "--help"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert commands
        for command in commands:
            assert re.search(rf"^\W*{command}\s", help_text, re.MULTILINE), command
