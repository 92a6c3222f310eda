"""Compiled kernels are kept on disk: never served stale or damaged, and never lost without a word."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qhybrid.quantum import engine
from qhybrid.quantum.engine.density.interpreter import density_forward
from qhybrid.quantum.engine.kernels import compilation
from qhybrid.quantum.engine.kernels.compilation import source_stamp
from qhybrid.quantum.engine.statevector.interpreter import run_backward

ENGINE = Path(engine.__file__).parent

KERNELS = """
from qhybrid.quantum.engine.kernels.compilation import kernel

@kernel(lean=True)
def twice(x):
    return 2 * x

@kernel(from_python=True)
def twice_and_one(x):
    return twice(x) + 1
"""

USE = """
from small_kernels import twice_and_one
print(twice_and_one(20), sum(twice_and_one.stats.cache_hits.values()))
"""


@pytest.fixture
def run(tmp_path):
    """Runs two small kernels in a process of their own; returns the process."""
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "small_kernels.py").write_text(KERNELS)

    def start(code=USE, **environment):
        path = os.pathsep.join([str(sources), str(ENGINE.parents[2])])
        own = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")}
        return subprocess.run(
            [sys.executable, "-B", "-c", code],
            env=own | {"PYTHONPATH": path, "NUMBA_CACHE_DIR": str(tmp_path / "cache")} | environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    start.sources, start.cache = sources, tmp_path / "cache"
    return start


@pytest.mark.parametrize(
    "file", ["kernels/vectors.py", "statevector/gates.py", "density/maps.py", "compiler/lowering.py", "__init__.py"]
)
def test_the_stamp_changes_with_every_module_of_the_engine(tmp_path, file):
    copy = tmp_path / "engine"
    shutil.copytree(ENGINE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert source_stamp(copy) == source_stamp()
    source_stamp.cache_clear()
    (copy / file).write_text((copy / file).read_text() + "# another line\n")
    assert source_stamp(copy) != source_stamp()
    source_stamp.cache_clear()


def test_the_stamp_changes_with_a_files_name_and_place(tmp_path):
    (tmp_path / "a.py").write_text("x")
    stamps = {source_stamp(tmp_path)}
    for target in ("b.py", "room/b.py"):
        (tmp_path / target).parent.mkdir(exist_ok=True)
        (tmp_path / "a.py").rename(tmp_path / target)
        source_stamp.cache_clear()
        stamps.add(source_stamp(tmp_path))
        (tmp_path / target).rename(tmp_path / "a.py")
    source_stamp.cache_clear()
    assert len(stamps) == 3


@pytest.mark.parametrize("kernel", [run_backward, density_forward])
def test_kernels_of_both_simulators_are_stamped(kernel):
    # The stamp is the third of what numba writes at the head of its index; it has no public name.
    assert kernel._cache._cache_file._source_stamp == source_stamp()


def test_a_changed_engine_compiles_anew_and_the_same_one_does_not(run):
    assert run().stdout.split() == ["41", "0"]
    assert run().stdout.split() == ["41", "1"]
    changed = "from qhybrid.quantum.engine.kernels import compilation\ncompilation.source_stamp = lambda: 'new'\n" + USE
    assert run(changed).stdout.split() == ["41", "0"]


def test_without_a_folder_for_the_cache_it_says_so_once(run):
    (run.sources / "__pycache__").write_text("a file where numba wants a folder")
    nowhere = {"NUMBA_CACHE_DIR": "", "XDG_CACHE_HOME": "/dev/null/nowhere", "HOME": "/dev/null"}
    answer = run(**nowhere)
    assert answer.stdout.split() == ["41", "0"]
    assert answer.stderr.count("set NUMBA_CACHE_DIR to a folder that can be written") == 1
    assert answer.stderr.count("cannot be kept") == 1


def test_a_folder_that_is_lost_after_the_start_is_said_once(run):
    code = f"""
import shutil, pathlib
import small_kernels
shutil.rmtree({str(run.cache)!r})
pathlib.Path({str(run.cache)!r}).write_text("")
{USE}"""
    answer = run(code)
    assert answer.stdout.split() == ["41", "0"], answer.stderr
    assert answer.stderr.count("set NUMBA_CACHE_DIR to a folder that can be written") == 1


def truncated(content):
    return content[: len(content) // 2]


def emptied(content):
    return b""


def zeroed(content):
    return content[: len(content) // 2] + bytes(len(content) - len(content) // 2)


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


def test_damaged_cache_files_are_compiled_anew_and_mended(run):
    run()
    for kind, damage in (("nbi", emptied), ("nbi", truncated), ("nbc", zeroed), ("nbc", flipped)):
        files = list(run.cache.rglob(f"*twice_and_one*.{kind}"))
        assert files
        for file in files:
            file.write_bytes(damage(file.read_bytes()))
        answer = run()
        assert answer.stdout.split() == ["41", "0"], answer.stderr
        assert answer.stderr.count("is damaged and compiled anew") == 1
        assert "Traceback" not in answer.stderr
    mended = run()
    assert (mended.stdout.split(), mended.stderr) == (["41", "1"], "")


def test_kernels_without_compilation_are_refused_in_one_line(run):
    code = "from qhybrid.errors import CircuitError\ntry:\n    import small_kernels; small_kernels.twice_and_one(1)\n"
    answer = run(code + "except CircuitError as error:\n    print(error)", NUMBA_DISABLE_JIT="1")
    assert answer.stdout.startswith("NUMBA_DISABLE_JIT is set"), answer.stderr


def test_the_command_line_refuses_as_well(run, tmp_path):
    (tmp_path / "run.yaml").write_text("name: small\nquantum: {qubits: 2, layers: 1}\n")
    arguments = ["qhybrid", "inspect", str(tmp_path / "run.yaml")]
    code = f"import sys; sys.argv = {arguments!r}; from qhybrid.commands.main import main; main()"
    answer = run(code, NUMBA_DISABLE_JIT="1")
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.startswith("error: NUMBA_DISABLE_JIT is set")
    assert answer.stderr.count("\n") == 1


def test_numbas_caching_is_as_it_was():
    """What `compilation` overrides exists; a new version of numba that renames it must not lose it in silence."""
    files, cache = compilation.IndexDataCacheFile, compilation.FunctionCache
    for owner, name in [
        (files, "_open_for_write"),
        (files, "_load_index"),
        (files, "_load_data"),
        (files, "_data_path"),
        (cache, "load_overload"),
        (cache, "save_overload"),
        (cache, "flush"),
    ]:
        assert callable(getattr(owner, name)), name
