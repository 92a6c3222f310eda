"""One process at a time in a directory."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from qhybrid.errors import RunDirectoryError
from qhybrid.locks import HOLDER_FILE, exclusive

HOLD = """
import sys, time
from pathlib import Path
from qhybrid.locks import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_another_process_is_refused_and_the_holder_named(tmp_path, holder):
    with pytest.raises(RunDirectoryError) as caught, exclusive(tmp_path):
        pass
    line = str(caught.value)
    for part in (str(tmp_path), f"process {holder.pid}", os.uname().nodename, "-c", "since 20"):
        assert part in line, line
    assert "\n" not in line


def test_the_lock_is_gone_with_its_holder_even_after_kill_9(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with exclusive(tmp_path):
        assert json.loads((tmp_path / HOLDER_FILE).read_text())["pid"] == os.getpid()
    assert not (tmp_path / HOLDER_FILE).exists()


def test_a_thread_enters_again_and_another_does_not(tmp_path):
    refused = []

    def enter():
        try:
            with exclusive(tmp_path):
                pass
        except RunDirectoryError as error:
            refused.append(str(error))

    with exclusive(tmp_path):
        with exclusive(tmp_path):
            pass
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
    assert len(refused) == 1
    enter()
    assert len(refused) == 1


def test_a_lock_survives_an_error_of_its_holder(tmp_path):
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path):
        raise ZeroDivisionError
    with exclusive(tmp_path):
        pass
