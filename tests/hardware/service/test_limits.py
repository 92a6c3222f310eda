"""What the service allows stands in one module, each number with the page that states it."""

import ast
import re
from pathlib import Path

from hardware.service import limits


def numbers(tree: ast.Module) -> dict[str, str]:
    """Constants of a module that are numbers or tuples, with the text below each."""
    found = {}
    for item, after in zip(tree.body, [*tree.body[1:], ast.Pass()], strict=True):
        if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            if not isinstance(getattr(limits, item.targets[0].id), str):
                found[item.targets[0].id] = str(text)
    return found


def test_every_limit_names_its_page_or_says_that_it_is_ours() -> None:
    stated = numbers(ast.parse(Path(limits.__file__).read_text()))
    assert {"MAX_EXECUTIONS_PER_JOB", "MAX_SECONDS_PER_JOB", "OPEN_PLAN_SECONDS"} <= stated.keys()
    for name, text in stated.items():
        pages = re.findall(r"`(\w+_PAGE)`", text)
        assert pages or "Our choice" in text, name
        assert all(getattr(limits, page).startswith("https://") for page in pages), name


def test_no_other_module_has_a_page_or_a_number_of_the_service(root: Path) -> None:
    others = [path for path in (root / "hardware").rglob("*.py") if path != Path(limits.__file__)]
    for path in others:
        text = path.read_text()
        assert "ibm.com" not in text, path
        written = {node.targets[0].id for node in ast.parse(text).body
                   if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}  # fmt: skip
        assert not written & set(numbers(ast.parse(Path(limits.__file__).read_text()))), path
