"""Docstrings explain themselves to a stranger: what is passed, what is raised, no sentence that needs another one."""

import ast
import re

import pytest

# First words by which a docstring leans on something that stands elsewhere, as the developers' review looks for.
CRYPTIC = re.compile(r"^(That|It|Its|The same|Both|As|Those|An empty|Another)\b[^\"]{0,80}$")
ARGUMENTS = 3
KERNELS = {"kernel", "lean_kernel", "staged", "intrinsic"}
COMMANDS = {"command", "callback"}


def public_functions(tree, inside=""):
    """Public functions and methods of a module with their dotted names; a private class has none."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node, f"{inside}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield f"{inside}{node.name}", node


def arguments(function):
    """Names of what a caller passes."""
    given = function.args
    names = [item.arg for item in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def raises_itself(function):
    """Whether an exception is made and raised in the function's own body; `raise` alone passes one on."""
    pending = list(function.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Raise) and node.exc is not None:
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            pending.extend(ast.iter_child_nodes(node))
    return False


def documented_elsewhere(function):
    """Whether arguments are explained in another place.

    The options of commands have a `help=`. Compiled kernels are called by kernels of their own folder alone, and their
    module says how their arrays are laid out.
    """
    parts = [part for item in function.decorator_list for part in ast.walk(item)]
    names = {part.id for part in parts if isinstance(part, ast.Name)}
    attributes = {part.attr for part in parts if isinstance(part, ast.Attribute)}
    annotations = {part.id for part in ast.walk(function.args) if isinstance(part, ast.Name)}
    is_command = attributes & COMMANDS or any(name.endswith("Option") for name in annotations)
    return bool(names & KERNELS or is_command)


def modules(root):
    return sorted(path for package in ("qhybrid", "hardware") for path in (root / package).rglob("*.py"))


def faults(tree):
    for name, function in public_functions(tree):
        text = ast.get_docstring(function) or ""
        if documented_elsewhere(function) or text.startswith("See `"):
            continue
        if len(arguments(function)) >= ARGUMENTS and "Args:" not in text:
            yield f"{name}: {len(arguments(function))} arguments and no `Args:`"
        if raises_itself(function) and "Raises:" not in text:
            yield f"{name}: raises and has no `Raises:`"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            text = ast.get_docstring(node) or ""
            if CRYPTIC.match(text):
                yield f"{node.name}: {text!r} does not explain itself"


def test_public_functions_say_what_they_take_and_raise(root):
    found = [
        f"{path.relative_to(root)}: {fault}"
        for path in modules(root)
        for fault in faults(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ('def f(a, b, c):\n    """Do it."""', "3 arguments"),
        ('class A:\n    def f(self, a, b, *, c):\n        """Do it."""', "A.f: 3 arguments"),
        ('def f(a):\n    """Do it."""\n    if a:\n        raise ValueError(a)', "raises"),
        ('def f():\n    """That of the first."""', "does not explain itself"),
        ('def _f():\n    """Its width."""', "does not explain itself"),
    ],
)
def test_each_fault_is_found(code, fault):
    assert fault in next(faults(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        'def f(a, b, c):\n    """Do it.\n\n    Args:\n        a: One.\n    """',
        'def f(a):\n    """Do it."""\n    try:\n        a()\n    except ValueError:\n        raise',
        'def _f(a, b, c):\n    """Do it."""\n    raise ValueError',
        '@app.command()\ndef f(a, b, c):\n    """Do it."""',
        'class A:\n    def f(self, a, b, c):\n        """See `Protocol`."""',
    ],
)
def test_what_needs_no_section_passes(code):
    assert not list(faults(ast.parse(code)))
