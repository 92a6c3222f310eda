"""What a result was made with: versions, machine and git revision of the code."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

RECORDED_PACKAGES = (
    "qhybrid",
    "torch",
    "numpy",
    "qiskit",
    "qiskit-aer",
    "qiskit-machine-learning",
    "qiskit-ibm-runtime",
    "diffusers",
    "accelerate",
    "ema-pytorch",
    "numba",
)


def describe_environment() -> dict[str, Any]:
    """Versions, machine and git revision of the code, as recorded in `meta.json`."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "versions": {name: installed_version(name) for name in RECORDED_PACKAGES},
        "git_revision": _git_revision(),
    }


def installed_version(package: str) -> str | None:
    """Version of an installed package, or `None`."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
