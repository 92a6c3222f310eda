"""Docstrings explain themselves to a stranger: what is passed, what is raised, no sentence that needs another one."""

import ast
import re

import pytest

# First words by which a docstring leans on something that stands elsewhere, as the developers' review looks for.
CRYPTIC = re.compile(r"^(That|It|Its|The same|Both|As|Those|Of|For|In|An empty|Another)\b[^\"]{0,80}$")
# First words of an entry that leans on its name or on another entry, where it should say what the thing is.
FRAGMENT = re.compile(
    r"(After|Also|Among|Another|As|At|Before|Behind|Between|Both|By|For|From|In|Its?|Needed|Of|On|Ours|Per|(The )?same"
    r"|See|Such|Takes|Tells|That|Theirs?|These|They|Those|To|Told|Under|Where|With|Without)\b",
    re.IGNORECASE,
)
# Clauses that do so unless they go on: "What was planned", "How many", "One per image".
CLAUSE = re.compile(r"(All|Any|Begin|First|Go|How|Not|One|This|What|Which)\b(\W+\w[\w.'`-]*){0,3}\W*$")
SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises):$")
WORD = re.compile(r"[\w'.-]*[A-Za-z]{2}[\w'.-]*")
SHAPE = re.compile(r"`?\([^()]*\)`?")
WORDS = 3
ARGUMENTS = 3
KERNELS = {"kernel", "staged", "intrinsic"}
COMMANDS = {"command", "callback"}


def public_functions(tree, inside=""):
    """Public functions and methods of a module with their dotted names; a private class has none."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node, f"{inside}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield f"{inside}{node.name}", node


def public_classes(tree, inside=""):
    """Public classes of a module with their dotted names."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield f"{inside}{node.name}", node
            yield from public_classes(node, f"{inside}{node.name}.")


def constructor(node):
    """A class's own `__init__`; `None` if it has none."""
    methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
    return next((item for item in methods if item.name == "__init__"), None)


def entries(text):
    """Section, names and text of each entry of a Google docstring; what is returned has no name."""
    section, found = None, []
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if line and not indent:
            header = SECTION.match(line)
            section = header[1] if header else None
            begins = True
        elif section and line:
            named = section not in ("Returns", "Yields")
            if (named and indent == 4) or begins:
                names, _, rest = line.strip().partition(":") if named else ("", "", line)
                found.append([section, names, rest.strip()])
            else:
                found[-1][2] += f" {line.strip()}"
            begins = False
    return [tuple(entry) for entry in found]


def is_fragment(text):
    """Whether an entry does not say by itself what a thing is; shapes in parentheses are no words."""
    return bool(FRAGMENT.match(text) or CLAUSE.match(text)) or len(WORD.findall(SHAPE.sub(" ", text))) < WORDS


def fields(node):
    """Public fields of a dataclass or `NamedTuple`; else the arguments of a constructor that takes several."""
    marks = [*node.decorator_list, *node.bases]
    names = {getattr(part, "id", getattr(part, "attr", "")) for mark in marks for part in ast.walk(mark)}
    if names & {"dataclass", "NamedTuple"}:
        annotated = [item for item in node.body if isinstance(item, ast.AnnAssign)]
        constant = [item.target.id for item in annotated if "ClassVar" in ast.unparse(item.annotation)]
        return [item.target.id for item in annotated if item.target.id not in constant and item.target.id[0] != "_"]
    function = constructor(node)
    names = arguments(function) if function else []
    return names if len(names) >= ARGUMENTS else []


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


def class_faults(name, node):
    """Fields and arguments of a class that neither its docstring nor the constructor's names."""
    function = constructor(node)
    texts = [ast.get_docstring(item) or "" for item in (node, function) if item]
    named = {word for text in texts for _, names, _ in entries(text) for word in re.findall(r"\w+", names)}
    missing = [field for field in fields(node) if field not in named]
    if missing:
        yield f"{name}: no `Args:` or `Attributes:` with {', '.join(missing)}"


def fragments(name, node):
    for section, names, text in entries(ast.get_docstring(node) or ""):
        if section != "Raises" and is_fragment(text):
            yield f"{name}: `{names or section}` is a fragment: {text!r}"


def faults(tree):
    for name, function in public_functions(tree):
        yield from fragments(name, function)
        text = ast.get_docstring(function) or ""
        if documented_elsewhere(function) or text.startswith("See `"):
            continue
        if len(arguments(function)) >= ARGUMENTS and "Args:" not in text:
            yield f"{name}: {len(arguments(function))} arguments and no `Args:`"
        if raises_itself(function) and "Raises:" not in text:
            yield f"{name}: raises and has no `Raises:`"
    for name, node in public_classes(tree):
        yield from class_faults(name, node)
        yield from fragments(name, node)
        if constructor(node):
            yield from fragments(f"{name}.__init__", constructor(node))
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
        ('def f(a):\n    """Do it.\n\n    Args:\n        a: Of the points.\n    """', "`a` is a fragment"),
        ('def f(a):\n    """Do it.\n\n    Args:\n        a: What was planned.\n    """', "`a` is a fragment"),
        ('def f(a):\n    """Do it.\n\n    Args:\n        a: Angles, `(rows, width)`.\n    """', "`a` is a fragment"),
        (
            'def f():\n    """Do it.\n\n    Returns:\n        Where it was\n        written to.\n    """',
            "`Returns` is a",
        ),
        (
            'class A:\n    def __init__(self, a):\n        """A.\n\n        Args:\n            a: Where.\n        """',
            "A.__init__",
        ),
        (
            'class A(NamedTuple):\n    """A.\n\n    Attributes:\n        a: Its width in pixels.\n    """\n    a: int',
            "`a`",
        ),
        ('@dataclass\nclass A:\n    """A."""\n    a: int', "`Attributes:` with a"),
        (
            '@dataclass(frozen=True)\nclass A:\n    """A.\n\n    Attributes:\n        a: A.\n    """\n    b: int',
            "with b",
        ),
        ('class A(NamedTuple):\n    """A."""\n    a: int', "`Attributes:` with a"),
        ('class A:\n    """A."""\n    def __init__(self, a, b, *, c):\n        pass', "with a, b, c"),
    ],
)
def test_each_fault_is_found(code, fault):
    assert fault in next(faults(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        'def f(a, b, c):\n    """Do it.\n\n    Args:\n        a: Name of the file.\n    """',
        'def f(a):\n    """Do it."""\n    try:\n        a()\n    except ValueError:\n        raise',
        'def _f(a, b, c):\n    """Do it."""\n    raise ValueError',
        '@app.command()\ndef f(a, b, c):\n    """Do it."""',
        'class A:\n    def f(self, a, b, c):\n        """See `Protocol`."""',
        'def f(a):\n    """Do it.\n\n    Raises:\n        OSError: It is full.\n    """',
        'class A:\n    """A.\n\n    Args:\n        a, b: Sides of it.\n        c: Name\n            of it.\n    """\n'
        "    def __init__(self, a, b, c):\n        pass",
        "class A:\n    def __init__(self, a, b):\n        pass",
        'class _A(NamedTuple):\n    """A."""\n    a: int',
        '@dataclass\nclass A:\n    """A."""\n    a: ClassVar[int]\n    _b: int',
    ],
)
def test_what_needs_no_section_passes(code):
    assert not list(faults(ast.parse(code)))
