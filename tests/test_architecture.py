"""The direction of imports, and what must not be imported at start."""

import ast
import graphlib
import importlib
import shutil
import subprocess
import sys

import pytest

# Third-party parts that change often or are heavy stay behind one door each.
DOORS = {
    "qiskit_machine_learning": {"qhybrid/quantum/layer/networks.py"},
    "QiskitRuntimeService": {"hardware/service/account.py"},
    "executor_estimator": {"hardware/primitives/execution.py"},
    "executor_sampler": {"hardware/primitives/execution.py"},
}

# The packages' roots: they import their public names when first used, and hold nothing of their own.
ROOTS = {"qhybrid", "qhybrid.quantum", "hardware"}

# Room (a folder, or a file on the ground floor) -> the rooms that it may import. A room that is not here fails the
# tests, and so does any arrow that is not here. Names are within `qhybrid`; `hardware` is written out.
GROUND = {"errors", "files", "interruption", "locks", "progress", "registry", "seeds", "stored"}
CONFIG = GROUND | {"config"}
CIRCUITS = CONFIG | {"quantum.circuits"}
COMPILER = CIRCUITS | {"quantum.engine.compiler"}
NOISE = COMPILER | {"quantum.noise"}
ENGINE = NOISE | {"quantum.engine.kernels", "quantum.engine.statevector", "quantum.engine.density"}
ESTIMATORS = ENGINE | {"quantum.devices", "quantum.estimators"}
QUANTUM = ESTIMATORS | {"quantum.layer", "quantum.analysis"}
RUN = CONFIG | {"environment", "rundir", "circuit_copies", "data"}
TRAINED = RUN | QUANTUM | {"models", "diffusion", "checkpoints"}
JUDGED = TRAINED | {"pictures", "sampling", "evaluation", "tracking"}
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "files": {"errors"},
    "interruption": {"errors"},
    "locks": {"errors"},
    "progress": {"errors"},
    "seeds": {"errors"},
    "registry": {"errors"},
    "stored": {"errors", "files"},
    "config": GROUND,
    "environment": set(),
    "rundir": CONFIG | {"environment"},
    "circuit_copies": CONFIG,
    "data": CONFIG,
    "processes": {"errors", "config"},
    "tracking": CONFIG | {"rundir", "processes"},
    "quantum.circuits": CONFIG,
    "quantum.engine.compiler": CIRCUITS,
    "quantum.noise": COMPILER,
    "quantum.devices": COMPILER,
    "quantum.engine.kernels": COMPILER,
    "quantum.engine.statevector": COMPILER | {"quantum.engine.kernels"},
    "quantum.engine.density": ENGINE - {"quantum.engine.density"},
    "quantum.estimators": ENGINE | {"quantum.devices"},
    "quantum.layer": ESTIMATORS,
    "quantum.analysis": ESTIMATORS,
    "models": CONFIG | QUANTUM,
    "diffusion": CONFIG | ESTIMATORS,
    "checkpoints": CONFIG | QUANTUM | {"rundir", "circuit_copies", "data", "models"},
    "preflight": TRAINED | {"evaluation"},
    "training": TRAINED | {"preflight", "processes", "tracking"},
    "pictures": GROUND,
    "sampling": TRAINED | {"pictures", "tracking"},
    "evaluation": TRAINED | {"pictures", "sampling", "tracking"},
    "report": JUDGED,
    "hub": JUDGED | {"report"},
    "studies": JUDGED | {"preflight", "training", "report"},
    "benchmarks": CONFIG | QUANTUM,
    "commands": JUDGED
    | {"preflight", "processes", "training", "report", "hub", "studies", "benchmarks"}
    | {"hardware.service", "hardware.placement", "hardware.runs", "hardware.noise", "hardware.commands"},
    "__main__": {"commands"},
    "hardware.errors": {"errors"},
    "hardware.arrays": {"files", "hardware.errors"},
    "hardware.stored_plans": {"errors", "files", "stored", "hardware.errors"},
}
HARDWARE_GROUND = {"hardware.errors", "hardware.arrays", "hardware.stored_plans"}
BELOW_HARDWARE = TRAINED | HARDWARE_GROUND
# A floor may import every floor before it.
HARDWARE_FLOORS = ["service", "placement", "primitives", "jobs", "planning"]
HARDWARE_FLOORS += ["estimation", "inference", "comparison", "tuning", "runs"]
ROOMS |= {
    f"hardware.{room}": BELOW_HARDWARE | {f"hardware.{lower}" for lower in HARDWARE_FLOORS[:floor]}
    for floor, room in enumerate(HARDWARE_FLOORS)
}
ROOMS["hardware.comparison"] |= {"evaluation"}
ROOMS["hardware.runs"] |= {"sampling"}
ROOMS["hardware.noise"] = set(ROOMS["hardware.inference"])
ROOMS["hardware.commands"] = BELOW_HARDWARE | {f"hardware.{room}" for room in [*HARDWARE_FLOORS, "noise"]}


def modules(root, package):
    """Every module of a package: dotted name -> path."""
    found = {}
    for path in sorted((root / package).rglob("*.py")):
        *folders, name = path.relative_to(root).with_suffix("").parts
        found[".".join(folders if name == "__init__" else [*folders, name])] = path
    return found


def everything(root):
    return modules(root, "qhybrid") | modules(root, "hardware")


def room_of(module, path):
    """The folder of a module, or the module itself where it stands on the ground floor."""
    parts = module.split(".")
    if path.name != "__init__.py" and (len(parts) > 2 or module in ROOTS):
        parts = parts[:-1]
    return ".".join(parts).removeprefix("qhybrid.")


def is_folder_of_rooms(path):
    """Whether a file is the `__init__.py` of a folder that is no room itself: it holds its docstring alone."""
    tree = ast.parse(path.read_text())
    return path.name == "__init__.py" and ast.get_docstring(tree) is not None and len(tree.body) == 1


def imported_names(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def home_of(name):
    """The module behind a public name of a root, e.g. `qhybrid.quantum.QuantumLayer`."""
    package, _, public = name.rpartition(".")
    if package not in ROOTS:
        return None
    homes = importlib.import_module(package)._HOMES
    home = homes.get(public)
    return home if home is None or home.startswith(package) else f"{package}.{home}"


def arrows(root):
    """Pairs of modules of which the first imports the second, at its start or when called."""
    known = everything(root)
    for module, path in known.items():
        if module in ROOTS:
            continue
        for name in imported_names(path):
            target = name if name in known and name not in ROOTS else home_of(name)
            # The package of a name is imported with it, and is no arrow of its own.
            if target is not None and target != module and not module.startswith(f"{target}."):
                yield module, target


def test_every_module_stands_in_a_room_of_the_table(root):
    known = everything(root)
    strangers = {m for m, path in known.items() if m not in ROOTS and room_of(m, path) not in ROOMS}
    assert strangers == {m for m in strangers if is_folder_of_rooms(known[m])}
    assert {room_of(m, path) for m, path in known.items()} >= set(ROOMS) - GROUND


def test_imports_between_rooms_follow_the_table(root):
    known = everything(root)
    wrong = set()
    for module, target in arrows(root):
        start, end = room_of(module, known[module]), room_of(target, known[target])
        if start != end and end not in ROOMS.get(start, set()) and not is_folder_of_rooms(known[target]):
            wrong.add(f"{module} -> {target}")
    assert not wrong, "\n".join(sorted(wrong))


def test_the_table_has_no_cycle():
    tuple(graphlib.TopologicalSorter(ROOMS).static_order())


def test_no_files_import_each_other_in_a_circle(root):
    graph = {}
    for module, target in arrows(root):
        graph.setdefault(module, set()).add(target)
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_an_arrow_against_the_table_is_seen(root, tmp_path):
    """The walk itself works: a planted file that imports upwards is found."""
    shutil.copytree(root / "qhybrid", tmp_path / "qhybrid", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(root / "hardware", tmp_path / "hardware", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "qhybrid" / "data" / "upwards.py").write_text("def f():\n    from qhybrid.training import loop\n")
    with pytest.raises(AssertionError, match=r"qhybrid\.data\.upwards -> qhybrid\.training\.loop"):
        test_imports_between_rooms_follow_the_table(tmp_path)
    (tmp_path / "qhybrid" / "attic").mkdir()
    (tmp_path / "qhybrid" / "attic" / "box.py").write_text("")
    with pytest.raises(AssertionError, match="attic"):
        test_every_module_stands_in_a_room_of_the_table(tmp_path)


def test_qhybrid_never_imports_hardware_but_for_the_command_line(root):
    guilty = {
        name.split(".")[1]
        for name, path in modules(root, "qhybrid").items()
        if any(module.split(".")[0] == "hardware" for module in imported_names(path))
    }
    assert guilty == {"commands"}


@pytest.mark.parametrize("part", DOORS)
def test_each_changing_part_has_one_door(root, part):
    users = {
        str(path.relative_to(root))
        for path in everything(root).values()
        if any(part in module.split(".") for module in imported_names(path))
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


@pytest.mark.parametrize("arguments", [[], ["hardware"], ["run"], ["hardware", "infer"]])
def test_the_command_line_helps_without_the_heavy_parts(arguments):
    """Each of them would add between a fifth of a second and some seconds to `--help`."""
    heavy = [
        "torch",
        "qiskit",
        "qiskit_aer",
        "qiskit_ibm_runtime",
        "qiskit_machine_learning",
        "accelerate",
        "diffusers",
    ]
    heavy += ["medmnist", "matplotlib", "sklearn", "skimage", "numba", "scipy", "pandas", "sympy", "numpy"]
    code = f"""
import sys
import qhybrid, hardware, qhybrid.commands.main
sys.argv = ["qhybrid", *{arguments}, "--help"]
try:
    qhybrid.commands.main.main()
except SystemExit as stop:
    assert stop.code == 0, stop.code
print([name for name in {heavy} if name in sys.modules])
"""
    answer = python(code)
    assert "Usage" in answer.stdout, answer.stderr[-2000:]
    assert answer.stdout.splitlines()[-1] == "[]"
