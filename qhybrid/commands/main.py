"""The command line: mounts the groups of commands, turns a user's mistakes into one line and exit code 2.

Everything heavy is imported inside the commands, so that `qhybrid --help` answers at once.
"""

from __future__ import annotations

import os
import sys

import typer

from hardware.commands.main import app as hardware_app
from qhybrid.commands import bench, config, doctor, inspect, judge, noise, run, study
from qhybrid.commands.terminal import print_everywhere
from qhybrid.errors import Interrupted, QHybridError
from qhybrid.files import DISK_ERRORS

USER_ERROR = 2
INTERRUPTED = 130

app = typer.Typer(
    help="Hybrid quantum-classical image diffusion: train on a simulator, run on an IBM quantum device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for commands in (run, judge, study, inspect, doctor):
    app.add_typer(commands.app)
app.add_typer(hardware_app, name="hardware")
app.add_typer(noise.app, name="noise")
app.add_typer(config.app, name="config")
app.add_typer(bench.app, name="bench")


def main() -> None:
    """Entry point of the console script."""
    print_everywhere()
    try:
        app()
    except Interrupted as interruption:
        print(f"interrupted: {interruption}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except QHybridError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USER_ERROR)
    except OSError as error:
        # Files have their own errors; what is left is the output, sent to a file on a full disk.
        if error.errno not in DISK_ERRORS:
            raise
        # What is still buffered would fail once more when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"error: the output cannot be written: {error.strerror}; make room and run it again", file=sys.stderr)
        sys.exit(USER_ERROR)


if __name__ == "__main__":
    main()
