"""Processes that run the command line and can be killed: everything is imported once, each command is a fork.

python forker.py        reads JSON lines {"arguments": [...], "environment": {...}, "output": path} and answers each
                        with {"pid": n} and, when the process has ended, {"code": n} (negative: the signal)
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys
from typing import Any

_IMPORTED = (
    "hardware.comparison.expectation_values",
    "hardware.runs.stages",
    "matplotlib.backends.backend_agg",
    "matplotlib.pyplot",
    "qhybrid",
    "qhybrid.quantum.estimators.aer",
    "qiskit_aer.noise",
    "qiskit_aer.primitives",
    "qiskit_ibm_runtime",
    "torch",
)


def main() -> None:
    """Serve commands until stdin ends."""
    for name in _IMPORTED:
        importlib.import_module(name)
    answer({"ready": True})
    first = True
    for line in sys.stdin:
        request = json.loads(line)
        if first:
            first = False
            answer({"pid": os.getpid()})
            answer({"code": call(request)})
            gc.collect()
            gc.freeze()
            continue
        pid = os.fork()
        if pid == 0:
            output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os._exit(call(request))
        answer({"pid": pid})
        answer({"code": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})


def call(request: dict[str, Any]) -> int:
    """Run a command; its exit code."""
    from qhybrid.commands import main as cli

    os.environ.update(request["environment"])
    sys.argv = ["qhybrid", *request["arguments"]]
    code: Any = 0
    try:
        with contextlib.redirect_stdout(sys.stderr):
            cli.main()
    except SystemExit as stop:
        code = stop.code
    sys.stderr.flush()
    return int(code or 0)


def answer(value: dict[str, Any]) -> None:
    """Tell the parent."""
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
