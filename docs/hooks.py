"""What the site takes from the checkout when it is built: commands from the code, notebooks, figures of studies."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files


@event_priority(100)  # before the plugin that makes pages of notebooks
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of commands, the notebooks from their own folder, and the figures of recorded studies."""
    root = Path(config.config_file_path).parent
    files.append(File.generated(config, "reference/commands.md", content=commands_page()))
    for path in sorted((root / "notebooks").rglob("*")):
        if path.suffix in (".ipynb", ".png") and ".ipynb_checkpoints" not in path.parts:
            uri = path.relative_to(root).as_posix()
            files.append(File(uri, str(root), config.site_dir, config.use_directory_urls))
    records = root / "tests/benchmarks/results"
    for path in sorted(records.glob("*/study*.png")):
        uri = f"records/{path.relative_to(records).as_posix()}"
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def commands_page() -> str:
    """Every command with its options, as typer prints them in Markdown; lists of commands link to their sections."""
    made = subprocess.run(
        [sys.executable, "-m", "typer", "qhybrid.commands.main", "utils", "docs", "--name", "qhybrid"],
        capture_output=True,
        text=True,
        check=True,
    )
    page = made.stdout.replace("# `qhybrid`", "# Commands", 1)
    # typer cuts the help of a command short where it lists commands; the whole first sentence stands in its section.
    sections = dict(re.findall(r"^#+ `(qhybrid [^`]+)`\n\n([^\n]+)", page, re.MULTILINE))
    parent = "qhybrid"
    lines = []
    for line in page.splitlines():
        if heading := re.match(r"#+ `(qhybrid [^`]+)`", line):
            parent = heading[1]
        listed = re.match(r"\* `([\w-]+)`: ", line)
        if listed and (name := f"{parent} {listed[1]}") in sections:
            line = f"* [`{listed[1]}`](#{name.replace(' ', '-')}): {sections[name]}"
        lines.append(line)
    return "\n".join(lines) + "\n"
