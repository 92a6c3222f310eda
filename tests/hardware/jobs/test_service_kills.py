"""The process is killed at random moments and resumed: nothing is lost and nothing is paid twice."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hardware_runs import MakeRun
from loopback import Loopback

from qhybrid.files import read_json, read_jsonl
from qhybrid.rundir import RunDirectory

HERE = Path(__file__).parent.parent
# Requests of a whole run of three steps, about; a run is killed at a request between the first and the last.
REQUESTS = 60
# In each mode; `QHYBRID_TEST_KILLS=10` for more.
KILLS = int(os.environ.get("QHYBRID_TEST_KILLS", "3"))
OPTIONS = ("--backend", "ibm_manila", "--images", "1", "--steps", "3", "--qpu-steps", "all", "--shots", "16", "--yes")


class Forker:
    """Runs commands in processes that can be killed."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent.parent)}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "forker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.pid = 0

    def wait_until_ready(self) -> None:
        self._read()

    def start(self, service: Loopback, output: Path, *arguments: object) -> None:
        assert self._process.stdin is not None
        request = {
            "arguments": [str(item) for item in arguments],
            "environment": service.environment,
            "output": str(output),
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        self.pid = self._read()["pid"]

    def code(self) -> int:
        return int(self._read()["code"])

    def stop(self) -> None:
        self._process.communicate()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    running = Forker()
    running.wait_until_ready()
    yield running
    running.stop()


class Killer:
    """Kills the process at its request of a given number: before it is carried out, after, or a moment later."""

    def __init__(self, forker: Forker, rng: np.random.Generator) -> None:
        self._forker = forker
        self._rng = rng
        self._left = 0
        self._when = ""
        self._delay = 0.0

    def arm(self) -> None:
        self._left = int(self._rng.integers(1, REQUESTS))
        self._when = str(self._rng.choice(["before", "after"]))
        self._delay = float(self._rng.choice([0.0, self._rng.uniform(0.0, 0.1)]))

    def disarm(self) -> None:
        self._left = 0

    def __call__(self, when: str, method: str, path: str) -> None:
        if when != self._when or not self._left:
            return
        self._left -= 1
        if self._left == 0:
            if self._delay:
                threading.Timer(self._delay, self._kill).start()
            else:
                self._kill()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._forker.pid, signal.SIGKILL)


@pytest.mark.parametrize("mode", ["job", "session"])
def test_killed_at_random_moments_and_resumed(
    mode: str, paid_service: Loopback, forker: Forker, make_run: MakeRun, rng: np.random.Generator, tmp_path: Path
) -> None:
    kills = KILLS
    killer = Killer(forker, rng)
    state = paid_service.state
    whole = make_run("whole", qubits=2)
    forker.start(paid_service, tmp_path / "whole.txt", "hardware", "infer", whole.path, *OPTIONS, "--mode", "job")
    assert forker.code() == 0, (tmp_path / "whole.txt").read_text()
    expected = images(whole)
    killed = number = 0
    while killed < kills:
        state.jobs.clear()
        number += 1
        run = make_run(f"run{number}", qubits=2)
        output = tmp_path / f"{number}.txt"
        code = None
        while code != 0:
            killer.arm() if killed < kills else killer.disarm()
            paid_service.watch = killer
            resume = ["--resume"] if (run.hardware / "plan.json").exists() else []
            forker.start(paid_service, output, "hardware", "infer", run.path, *OPTIONS, "--mode", mode, *resume)
            code = forker.code()
            assert code in (0, -signal.SIGKILL), output.read_text()
            killed += code != 0
        state.wait_until_idle()
        plan = read_json(run.hardware / "plan.json")
        assert (len(state.jobs), state.executions) == (plan["jobs"], plan["executions"])
        np.testing.assert_array_equal(images(run), expected)
        rows = read_jsonl(run.hardware / "jobs.jsonl")
        # Killed between a result and its line, the next process finds the result and says that it was reused.
        assert {row["step"] for row in rows if row["event"] in ("done", "reused")} == {0, 1, 2}
        assert {row["job"] for row in rows if row["event"] == "submitted"} == set(state.jobs)
        left = [session for session in state.sessions.values() if session.accepting]
        # One whose id the killed process never learnt is left to the service's own limit.
        opened = {row["session"] for row in rows if row["event"] == "opened"}
        assert not [session for session in left if session.id in opened]


def images(run: RunDirectory) -> np.ndarray:
    with np.load(run.hardware / "images.npz") as file:
        return file["images"]
