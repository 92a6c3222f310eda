"""The run directory: names of its files, atomic writes, what is recorded about a run.

Every file is written to a temporary name beside its place and renamed, so a reader never sees half a file.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from qhybrid.config import RunConfig, dump_config, load_config
from qhybrid.errors import ConfigError, RunDirectoryError
from qhybrid.files import write_json, write_text

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


class RunDirectory:
    """Paths of one run and what stands in them.

    Attributes:
        path: The directory.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def config_file(self) -> Path:
        """The resolved configuration, enough to repeat the run."""
        return self.path / "config.yaml"

    @property
    def meta_file(self) -> Path:
        """Versions, machine and git revision."""
        return self.path / "meta.json"

    @property
    def train_log(self) -> Path:
        """A row of JSON for each logging window of the training."""
        return self.path / "train.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints, one `step-N` folder each."""
        return self.path / "checkpoints"

    @property
    def images_file(self) -> Path:
        """Sampled images as uint8 and the seed of each."""
        return self.path / "samples" / "images.npz"

    @property
    def grid_file(self) -> Path:
        """Picture of the first sampled images."""
        return self.path / "samples" / "grid.png"

    @property
    def evaluation_file(self) -> Path:
        """Each metric with its value, interval and floor."""
        return self.path / "evaluation.json"

    @property
    def hardware(self) -> Path:
        """Folder of the plan, jobs and results of a device."""
        return self.path / "hardware"

    @property
    def report_file(self) -> Path:
        """The report, one self-contained page."""
        return self.path / "report.html"

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """An existing run.

        Raises:
            RunDirectoryError: There is no `config.yaml`, so this is not a run directory.
        """
        run = cls(path)
        if not run.config_file.is_file():
            raise RunDirectoryError(f"`{path}` is not a run directory (no config.yaml): `qhybrid train` makes one")
        return run

    @classmethod
    def create(cls, path: str | Path | None, config: RunConfig, *, resume: bool = False) -> RunDirectory:
        """Make a run directory (default `runs/<name>-<time>`), or open it again to resume.

        Raises:
            RunDirectoryError: Not writable; already holds a run and `resume` is false; holds a run of another
                configuration.
        """
        run = cls(path or Path("runs") / f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}")
        if run.config_file.exists():
            if not resume:
                raise RunDirectoryError(f"`{run.path}` already holds a run: add --resume, or choose another --out")
            run._check_same(config)
            return run
        if run.path.exists() and not run._is_fresh():
            raise RunDirectoryError(f"`{run.path}` exists and is no run directory: choose another --out")
        write_text(run.config_file, dump_config(config))
        write_json(run.meta_file, describe_environment())
        return run

    def config(self) -> RunConfig:
        """The configuration that the run was made with."""
        return load_config(self.config_file)

    def _is_fresh(self) -> bool:
        """Whether the folder is empty, or its maker was killed while it wrote the first file."""
        unfinished = f".{self.config_file.name}."
        return self.path.is_dir() and all(entry.name.startswith(unfinished) for entry in self.path.iterdir())

    def _check_same(self, config: RunConfig) -> None:
        try:
            stored = self.config()
        except ConfigError as error:
            raise RunDirectoryError(f"`{self.config_file}` does not fit this version: {error}") from None
        if stored != config:
            changed = changed_keys(stored.model_dump(), config.model_dump())
            raise RunDirectoryError(
                f"`{self.path}` holds a run with another configuration ({', '.join(changed)}): choose another --out"
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
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def changed_keys(stored: Any, wanted: Any, prefix: str = "") -> list[str]:
    """Leaves in which two nested mappings differ, each as `key: value there, value here`.

    Args:
        stored: A nested mapping, or a value.
        wanted: What it is compared with.
        prefix: Dotted key under which both stand; empty at the root.
    """
    if isinstance(stored, dict) and isinstance(wanted, dict):
        return [
            name
            for key in sorted(stored.keys() | wanted.keys())
            for name in changed_keys(stored.get(key), wanted.get(key), f"{prefix}.{key}" if prefix else key)
        ]
    return [] if stored == wanted else [f"{prefix}: {stored!r} there, {wanted!r} here"]
