"""The command line: mounts the groups of commands, turns a user's mistakes into one line and exit code 2.

Everything heavy is imported inside the commands, so that `qhybrid --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from hardware.commands.main import app as hardware_app
from qhybrid.commands import bench, config, doctor, export, inspect, judge, noise, run, runs, study
from qhybrid.commands.terminal import print_everywhere
from qhybrid.errors import Interrupted, QHybridError, lacks_memory
from qhybrid.files import DISK_ERRORS

USER_ERROR = 2
INTERRUPTED = 130
ABORTED = 1

UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""A wrong command, option or argument, as typer raises it; it has no public name of its own."""

app = typer.Typer(
    help="Hybrid quantum-classical image diffusion: train on a simulator, run on an IBM quantum device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for commands in (run, judge, runs, export, study, inspect, doctor):
    app.add_typer(commands.app)
app.add_typer(hardware_app, name="hardware")
app.add_typer(noise.app, name="noise")
app.add_typer(config.app, name="config")
app.add_typer(bench.app, name="bench")


def main() -> None:
    """Entry point of the console script."""
    print_everywhere()
    try:
        # Not on its own, or a wrong option would be a box of five lines.
        sys.exit(app(standalone_mode=False) or 0)
    except UsageError as error:
        _end(_usage_line(error), USER_ERROR)
    except typer.Abort:
        _end("aborted: nothing was done", ABORTED)
    except Interrupted as interruption:
        _end(f"interrupted: {interruption}", INTERRUPTED)
    except QHybridError as error:
        _end(f"error: {error}", USER_ERROR)
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        sizes = "images, a batch, or the network's channels"
        _end(f"error: the memory of this machine does not suffice: ask for less at a time ({sizes})", USER_ERROR)
    except OSError as error:
        # Files have their own errors; what is left is the output, sent to a file on a full disk.
        if error.errno not in DISK_ERRORS:
            raise
        # What is still buffered would fail once more when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _end(f"error: the output cannot be written: {error.strerror}; make room and run it again", USER_ERROR)


def _usage_line(error: Any) -> str:
    """What is wrong with a command line and where to look; the help itself where nothing but it was asked for."""
    message = str(error.format_message()).strip()
    if "\n" in message:
        return message
    command = "qhybrid" if error.ctx is None else error.ctx.command_path
    return f"error: {message.rstrip('.')}: `{command} --help` shows what it takes"


def _end(line: str, code: int) -> None:
    """Say why, and end; the code tells as well, where the line itself finds no room.

    Raises:
        SystemExit: Always.
    """
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    sys.exit(code)


if __name__ == "__main__":
    main()
