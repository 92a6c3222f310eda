"""The run directory: names of its files, atomic writes, what is recorded about a run.

Every file is written to a temporary name beside its place and renamed, so a reader never sees half a file.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import FiniteFloat

from qhybrid.config import RunConfig, changed_keys, dump_config, load_config
from qhybrid.environment import describe_environment
from qhybrid.errors import ConfigError, RunDirectoryError
from qhybrid.files import DamagedFileError, InputFile, check_writable, sha256_of, write_json, write_text
from qhybrid.locks import HOLDER_FILE, LOCK_FILE, exclusive
from qhybrid.stored import from_json, read_stored, read_stored_lines

_INPUTS = {"data": "data set", "bank": "noise bank"}


@dataclass(frozen=True)
class _Meta:
    """What is read of `meta.json`; an older version has written less."""

    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class _TrainingRow:
    """What is read of a row of `train.jsonl`."""

    step: int
    images_seen: int
    loss: FiniteFloat
    gradient_norm: dict[str, float]
    seconds: FiniteFloat


class RunDirectory:
    """Paths of one run and what stands in them.

    Attributes:
        path: Path of the directory.
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
    def tracking_file(self) -> Path:
        """Which run of each tracker is this one; TensorBoard's files stand beside it."""
        return self.path / "tracking" / "runs.json"

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
    def create(
        cls,
        path: str | Path | None,
        config: RunConfig,
        *,
        resume: bool = False,
        inputs: Mapping[str, InputFile] | None = None,
    ) -> RunDirectory:
        """Make a run directory (default `runs/<name>-<time>`), or open it again to resume.

        Args:
            path: Path of the directory; by default `runs/<name>-<time>`.
            config: Configuration that the run is made with.
            resume: Whether to open the run that is there.
            inputs: The files that the run is made from, kept in `meta.json`.

        Raises:
            RunDirectoryError: Not writable; already holds a run and `resume` is false; holds a run of another
                configuration; another process works there.
        """
        run = cls(path or default_place(config))
        if run._is_there(config, resume):
            return run
        with run.locked():
            # Another process may have made it while this one looked.
            if not run._is_there(config, resume):
                made_from = {kind: asdict(item) for kind, item in (inputs or {}).items()}
                # Two runs of one configuration may start within one second.
                meta = {"id": uuid.uuid4().hex, **describe_environment(), "inputs": made_from}
                write_json(run.meta_file, meta)
                # Last, since a directory with a configuration counts as a run.
                write_text(run.config_file, dump_config(config))
        return run

    @classmethod
    def check_place(cls, path: str | Path | None, config: RunConfig, *, resume: bool = False) -> None:
        """Find out whether `create` would give a run directory; nothing is written.

        Args:
            path: Path of the directory; `None` for a new one.
            config: Configuration that the run is made with.
            resume: Whether it may hold the run already.

        Raises:
            RunDirectoryError: As `create`.
        """
        run = cls(path or default_place(config))
        if not run._is_there(config, resume):
            check_writable(run.path)

    def _is_there(self, config: RunConfig, resume: bool) -> bool:
        """Whether the directory holds this run already.

        Raises:
            RunDirectoryError: It holds another one, or something else.
        """
        if self.config_file.exists():
            if not resume:
                raise RunDirectoryError(f"`{self.path}` already holds a run: add --resume, or choose another --out")
            self._check_same(config)
            return True
        if self.path.exists() and not self._is_fresh():
            raise RunDirectoryError(f"`{self.path}` exists and is no run directory: choose another --out")
        return False

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes out of the directory; see `qhybrid.locks.exclusive`."""
        return exclusive(self.path)

    def inputs(self) -> dict[str, InputFile]:
        """The files that the run was made from, by kind (`data`, `bank`); none for a run of an older version.

        Raises:
            RunDirectoryError: `meta.json` is damaged.
        """
        try:
            found = {kind: from_json(InputFile, values) for kind, values in self.meta().get("inputs", {}).items()}
        except DamagedFileError as error:
            raise RunDirectoryError(f"`{self.meta_file}` is damaged: {error}") from None
        if not found.keys() <= _INPUTS.keys():
            raise RunDirectoryError(f"`{self.meta_file}` is damaged: its inputs are {', '.join(found)[:80]}")
        return found

    def meta(self) -> dict[str, Any]:
        """What `meta.json` holds; nothing of a run of an older version.

        Raises:
            RunDirectoryError: It is damaged.
        """
        if not self.meta_file.exists():
            return {}
        return read_stored(self.meta_file, _Meta, "restore it from a copy of the run")

    def training_rows(self) -> list[dict[str, Any]]:
        """Rows of `train.jsonl`; none before the first logging window has ended.

        Raises:
            RunDirectoryError: It is damaged.
        """
        return read_stored_lines(self.train_log, _TrainingRow)

    def located(self, kind: str, configured: str) -> str:
        """Where an input is: at the recorded place, if it still is, else where the configuration says.

        A relative path of the configuration leads elsewhere from another working directory; where both lead to the
        same file it stays as it is written.
        """
        entry = self.inputs().get(kind)
        if entry is None or entry.path is None or not Path(entry.path).exists():
            return configured
        same = Path(os.path.abspath(Path(configured).expanduser())) == Path(entry.path)
        return configured if same else entry.path

    def relocated(self, config: RunConfig) -> RunConfig:
        """A configuration with the recorded places of data set and noise bank; see `located`."""
        path, bank = config.data.path, config.diffusion.noise.bank
        if path is not None and (place := self.located("data", path)) != path:
            config = config.model_copy(update={"data": config.data.model_copy(update={"path": place})})
        if bank is not None and (place := self.located("bank", bank)) != bank:
            noise = config.diffusion.noise.model_copy(update={"bank": place})
            config = config.model_copy(update={"diffusion": config.diffusion.model_copy(update={"noise": noise})})
        return config

    def check_inputs(self) -> None:
        """Refuse a run whose data set or noise bank is no longer what it was made from; a missing file is not read.

        Raises:
            RunDirectoryError: A file has changed; names it and both sums.
        """
        bank = self.config().diffusion.noise.bank
        for kind, entry in self.inputs().items():
            configured = bank if kind == "bank" else entry.path
            path = self.located(kind, configured) if configured is not None else None
            if path is not None and Path(path).exists():
                self.check_input(kind, path, sha256_of(Path(path)))

    def check_input(self, kind: str, path: str | None, sha256: str) -> None:
        """Compare an input with what the run was made from.

        Args:
            kind: Kind of the input, `data` or `bank`.
            path: Present path of the input; `None` where it has none.
            sha256: Present SHA-256 of the input.

        Raises:
            RunDirectoryError: They differ; gives both sums.
        """
        entry = self.inputs().get(kind)
        if entry is None or entry.sha256 == sha256:
            return
        what = _INPUTS[kind]
        place = f"`{path}`" if path is not None else "the package's own"
        raise RunDirectoryError(
            f"the {what} of `{self.path}` has changed: {place} has SHA-256 {sha256}, the run was made with "
            f"{entry.path or 'one'} of SHA-256 {entry.sha256}: restore it, or train anew"
        )

    def config(self) -> RunConfig:
        """The configuration that the run was made with."""
        return load_config(self.config_file)

    def _is_fresh(self) -> bool:
        """Whether the folder is empty, or its maker was killed before the configuration was there."""
        unfinished = (f".{self.config_file.name}.", f".{self.meta_file.name}.")
        known = {LOCK_FILE, HOLDER_FILE, self.meta_file.name}
        return self.path.is_dir() and all(
            entry.name in known or entry.name.startswith(unfinished) for entry in self.path.iterdir()
        )

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


def default_place(config: RunConfig) -> Path:
    """Where what a configuration makes goes if no place is named: `runs/<name>-<time>`."""
    return Path("runs") / f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}"
