"""The direction of imports, and what must not be imported at start."""

import ast
import subprocess
import sys

import pytest

# Third-party parts that change often or are heavy stay behind one door each.
DOORS = {
    "qiskit_machine_learning": {"qhybrid/quantum/layer/layer.py"},
    "QiskitRuntimeService": {"hardware/service/backends.py"},
    "executor_estimator": {"hardware/primitives/execution.py"},
}


def imported_names(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(root, package):
    return {str(path.relative_to(root)): path for path in (root / package).rglob("*.py")}


def test_qhybrid_never_imports_hardware_but_for_the_command_line(root):
    guilty = {
        name
        for name, path in modules(root, "qhybrid").items()
        if any(module.split(".")[0] == "hardware" for module in imported_names(path))
    }
    assert guilty == {"qhybrid/commands/main.py"}


@pytest.mark.parametrize("part", DOORS)
def test_each_changing_part_has_one_door(root, part):
    everything = modules(root, "qhybrid") | modules(root, "hardware")
    users = {
        name for name, path in everything.items() if any(part in module.split(".") for module in imported_names(path))
    }
    assert users == DOORS[part]


def python(code, *flags):
    return subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, timeout=120)


def test_the_packages_work_where_torchvision_cannot_be_imported(tmp_path):
    # A module of that name that fails like the wheel beside a CPU-only torch.
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    code = f"""
import importlib, pkgutil, sys
sys.path.insert(0, {str(tmp_path)!r})
import qhybrid, hardware
for package in (qhybrid, hardware):
    for name in package.__all__:
        getattr(package, name)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
from qhybrid.diffusion.samplers import build_sampler
from qhybrid.config import DiffusionConfig
for sampler in ("ddpm", "ddim", "dpm-solver++", "unipc"):
    build_sampler(DiffusionConfig(), sampler, 10)
print("imported", "torchvision" in sys.modules)
"""
    answer = python(code)
    assert answer.stdout.strip() == "imported False", answer.stderr[-2000:]


def test_the_command_line_starts_without_the_heavy_parts():
    heavy = ["torch", "qiskit", "qiskit_aer", "qiskit_ibm_runtime", "diffusers", "medmnist", "matplotlib", "sklearn"]
    code = f"""
import sys
import qhybrid, hardware, qhybrid.commands.main, qhybrid.config
print([name for name in {heavy} if name in sys.modules])
"""
    assert python(code).stdout.strip() == "[]"
