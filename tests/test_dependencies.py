"""What the packages import is what `pyproject.toml` declares: nothing rides along on another's dependencies."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from functools import cache

# Declared though no line imports them, and why.
REASONS = {
    "medmnist": "its table of sets is read from the installed file: importing it imports torchvision",
    "pylatexenc": "Qiskit's drawer needs it for `qhybrid inspect --picture`",
    "qiskit-qasm3-import": "qiskit.qasm3 reads OpenQASM 3 files with it",
}


def distribution_name(requirement):
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def imported_modules(root):
    for package in ("qhybrid", "hardware"):
        for path in (root / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    yield from ((alias.name.split(".")[0], path) for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    yield node.module.split(".")[0], path


@cache
def imported_distributions(root):
    """Lower-case distribution names, each with a file that imports it."""
    homes = importlib.metadata.packages_distributions()
    found = {}
    for module, path in imported_modules(root):
        if module not in sys.stdlib_module_names and module not in ("qhybrid", "hardware"):
            assert module in homes, f"{path} imports `{module}`, which no installed package provides"
            # `mlflow-skinny` is MLflow without its server.
            found[homes[module][0].lower().replace("_", "-").removesuffix("-skinny")] = path
    return found


def declared(root, extra=None):
    """Names of what is always installed, or of what an extra installs."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return {distribution_name(requirement) for requirement in wanted}


def test_every_imported_package_is_declared(root):
    found = declared(root) | declared(root, "trackers")
    imported = imported_distributions(root)
    assert not {name: str(path) for name, path in imported.items() if name not in found}


def test_an_optional_package_is_imported_in_one_place(root):
    imported = imported_distributions(root)
    optional = {name: path for name, path in imported.items() if name in declared(root, "trackers")}
    assert set(optional) == {"mlflow", "wandb"}
    assert set(optional.values()) == {root / "qhybrid" / "tracking" / "kinds.py"}


def test_every_declared_package_is_used(root):
    assert declared(root) - set(imported_distributions(root)) == set(REASONS)


def test_every_test_dependency_is_pinned_in_the_tested_set(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    pinned = {
        distribution_name(line)
        for line in (root / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    wanted = [
        *project["dependencies"],
        *(item for extra in project["optional-dependencies"].values() for item in extra),
    ]
    assert not {distribution_name(requirement) for requirement in wanted} - pinned
