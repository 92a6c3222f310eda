"""The pages for contributors show the code of the tested package, and name the folders that there are."""

import re


def excerpts(root):
    """The blocks that begin with the path of a file, each with that file."""
    text = (root / "docs" / "how-to" / "core.md").read_text(encoding="utf-8")
    return re.findall(r"```\w+\n# (tests/plugin/\S+)\n(.*?)```", text, re.DOTALL)


def test_every_excerpt_is_the_code_of_the_tested_package(root):
    found = excerpts(root)
    for path, block in found:
        assert block in (root / path).read_text(encoding="utf-8"), f"an excerpt differs from {path}"
    shown = "".join(block for _, block in found)
    assert set(re.findall(r"@register_(\w+)", shown)) == {"ansatz", "data", "noise", "sampler", "bottleneck"}


def test_every_folder_has_its_line(root):
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for package in ("qhybrid", "hardware"):
        for folder in (root / package).iterdir():
            if (folder / "__init__.py").exists() and folder.name != "quantum":
                assert f"`{folder.name}/`" in text, f"{package}/{folder.name}"
