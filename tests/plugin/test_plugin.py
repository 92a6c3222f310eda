"""A package that qhybrid knows nothing of, in a fresh environment: all five kinds, named in one YAML file."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def environment(tmp_path_factory, root):
    """Install packages into a new environment that sees this one's, and run its Python; nothing is downloaded."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # `addsitedir` also follows what this environment's own .pth files say.
    line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})"
    (packages / "outer.pth").write_text(f"{root}\n{line}\n")
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}

    def install(source):
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
        subprocess.run([*command, "--no-build-isolation", str(source)], check=True, cwd=folder, env=variables)

    def qhybrid(*arguments):
        return subprocess.run(
            [str(python), "-m", "qhybrid", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=folder,
            env=variables,
            timeout=300,
        )

    source = folder / "source"
    shutil.copytree(HERE, source, ignore=shutil.ignore_patterns("*.egg-info", "build", "__pycache__"))
    install(source)
    qhybrid.install, qhybrid.folder = install, folder
    return qhybrid


@pytest.fixture(scope="module")
def run(environment):
    answer = environment("run", HERE / "example.yaml", "--out", "run")
    assert answer.returncode == 0, answer.stderr[-2000:]
    return environment.folder / "run"


def test_the_package_is_not_installed_here():
    answer = subprocess.run(
        [sys.executable, "-m", "qhybrid", "train", str(HERE / "example.yaml")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.returncode == 2
    assert "data set `stripes` is unknown; registered are digits" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_it_trains_with_its_own_circuit_core_data_and_noise(run):
    stored = yaml.safe_load((run / "config.yaml").read_text())
    assert stored["quantum"]["ansatz"] == {"name": "brick_wall", "entangler": "cx"}
    assert stored["model"]["bottleneck"]["core"] == {"name": "small_start", "width": 0.05}
    assert stored["diffusion"]["noise"]["source"] == {"name": "spiky", "share": 0.1, "height": 3.0}
    assert stored["sampling"]["sampler"] == {"name": "deis", "order": 2}
    assert stored["data"]["side"] == 8
    weights = load_file(run / "checkpoints" / "step-8" / "model.safetensors")
    (circuit,) = [value for name, value in weights.items() if name.startswith("bottleneck.core.layer")]
    # 3 qubits x 2 layers; the 8 steps of warm-up move no weight by more than the learning rate each.
    assert circuit.shape == (6,)
    assert np.abs(circuit).max() < 0.06


def test_it_samples_with_its_own_sampler(run):
    images = np.load(run / "samples" / "images.npz")["images"]
    assert (images.shape, images.dtype) == ((8, 8, 8), np.uint8)
    assert images.std() > 0


def test_its_circuit_runs_on_a_device(run):
    results = next((run / "hardware").rglob("images.npz"))
    assert np.load(results)["images"].shape[0] == 2


def test_the_run_can_be_taken_up_and_sampled_again(environment, run):
    assert environment("train", HERE / "example.yaml", "--out", "run", "--resume").returncode == 0
    before = np.load(run / "samples" / "images.npz")["images"]
    assert environment("sample", "run").returncode == 0
    np.testing.assert_array_equal(np.load(run / "samples" / "images.npz")["images"], before)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("quantum.ansatz=brick_wal", "ansatz `brick_wal` is unknown, did you mean `brick_wall`? registered are"),
        ("quantum.ansatz={name: brick_wall, gate: cx}", "`brick_wall` of package `qhybrid-example`: unknown option"),
        ("data={name: stripes, wide: 3}", "data set `stripes` of package `qhybrid-example`: unknown option `wide`"),
    ],
)
def test_a_mistake_is_one_line(environment, change, line):
    answer = environment("train", HERE / "example.yaml", "--set", change, "--out", "never")
    assert answer.returncode == 2
    assert line in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert not (environment.folder / "never").exists()


def test_rivals_and_broken_packages_are_named_and_the_rest_works(environment):
    """A second package with a name of the first, and one that cannot be imported."""
    for name, code in [
        ("rival", 'from qhybrid.registry import register_ansatz\n\n@register_ansatz("brick_wall")\ndef f(*a): ...\n'),
        ("broken", "import a_library_nobody_has\n"),
    ]:
        source = environment.folder / f"{name}-source"
        source.mkdir()
        (source / f"{name}_module.py").write_text(code)
        (source / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
            f'[project]\nname = "{name}-package"\nversion = "1"\n[tool.setuptools]\npy-modules = ["{name}_module"]\n'
            f'[project.entry-points."qhybrid.ansatz"]\n{name} = "{name}_module"\n'
        )
        environment.install(source)
    rivals = environment("train", HERE / "example.yaml", "--out", "never")
    assert rivals.returncode == 2
    assert "ansatz `brick_wall` is registered twice, by" in rivals.stderr
    assert "`qhybrid-example`" in rivals.stderr
    assert "`rival-package`" in rivals.stderr
    failed = environment("train", HERE / "example.yaml", "--set", "quantum.ansatz=broken", "--out", "never")
    assert failed.returncode == 2
    assert (
        "ansatz `broken` comes from package `broken-package`, which fails on import: ModuleNotFoundError"
        in failed.stderr
    )
    assert len(failed.stderr.splitlines()) == 1
    others = ["--set", "quantum.ansatz=ry_rz_ladder", "--set", "training.steps=1", "--out", "works"]
    works = environment("train", HERE / "example.yaml", *others)
    assert works.returncode == 0, works.stderr[-2000:]
