"""`qhybrid doctor`: what this machine and this installation can do."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from qhybrid.environment import RECORDED_PACKAGES, installed_version
from qhybrid.registry import REGISTRIES
from qhybrid.stored import read_stored

app = typer.Typer()


@dataclass(frozen=True)
class _Accounts:
    """Saved accounts by their names, of which nothing else is read."""


@app.command()
def doctor() -> None:
    """Tell what this machine and this installation can do."""
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "found", title="qhybrid doctor")
    for name, value in findings():
        table.add_row(name, value)
    Console().print(table)


def findings() -> Iterator[tuple[str, str]]:
    """Name and value of each finding; nothing is downloaded, no account is contacted, no token is read."""
    import psutil
    import torch

    memory = psutil.virtual_memory()
    yield "python", platform.python_version()
    yield "processor", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()}"
    yield "memory", f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
    yield "CUDA", torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none: training runs on the CPU"
    for package in RECORDED_PACKAGES:
        yield package, installed_version(package) or "not installed"
    yield "data", _data_roots()
    yield "IBM account", _account()
    yield from _registered()


def _data_roots() -> str:
    from qhybrid.data.download import data_root

    return str(data_root(None))


def _account() -> str:
    if os.environ.get("QISKIT_IBM_TOKEN"):
        return "from the environment"
    saved = Path.home() / ".qiskit" / "qiskit-ibm.json"
    # Qiskit's client leaves an empty file behind when it has looked for accounts; only their names are read here.
    names = list(read_stored(saved, _Accounts, "remove it, and save the account again")) if saved.exists() else []
    return f"saved: {', '.join(names)}" if names else "none: local copies of IBM devices work without one"


def _registered() -> Iterator[tuple[str, str]]:
    """What other installed packages register, and which of them cannot be imported."""
    for registry in REGISTRIES:
        for name, package in registry.packages().items():
            if package != "qhybrid":
                yield f"{registry.kind} {name}", f"from package {package}"
        for name, (package, reason) in registry.failures().items():
            yield f"{registry.kind} {name}", f"package {package} fails on import: {reason}"
