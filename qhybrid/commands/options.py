"""Options that several commands share, and what reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qhybrid.config import RunConfig

ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file, e.g. configs/quickstart.yaml.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory made by `run` or `train`.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="a.b=c", help="Override a key of the configuration; repeatable.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Run directory [default: runs/<name>-<time>].")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out from its last checkpoint.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved configuration, model sizes and estimated time, and stop.")
]
DataRootOption = Annotated[
    str | None,
    typer.Option("--data-root", metavar="DIR", help="Folder of data sets [default: QHYBRID_DATA or a cache]."),
]


def read_configuration(path: Path, overrides: list[str] | None, data_root: str | None) -> RunConfig:
    """The configuration that a command is given, with its overrides echoed.

    Args:
        path: The YAML file.
        overrides: Texts `a.b=c` of `--set`.
        data_root: Folder of data sets of `--data-root`.

    Raises:
        ConfigError: The file cannot be read, or a key or value is not allowed.
    """
    from qhybrid.config import load_config

    return load_config(path, overrides or (), echoed_options(overrides, data_root))


def echoed_options(overrides: list[str] | None, data_root: str | None) -> dict[str, str]:
    """Keys that have an option of their own, which is no YAML; all that changes the configuration is echoed."""
    given = {} if data_root is None else {"data.root": data_root}
    for line in [*(overrides or []), *(f"{key}={value}" for key, value in given.items())]:
        typer.echo(f"set {line}")
    return given
