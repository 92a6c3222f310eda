"""Registries: who registers a name, and what is said if nobody, two, or a broken package does."""

import sys
import types

import pytest
from pydantic import BaseModel, ValidationError

from qhybrid.config import Section
from qhybrid.errors import ConfigError
from qhybrid.registry import Registry


class Options(Section):
    angle: float = 0.5


@pytest.fixture
def registry(monkeypatch):
    # A home that registers nothing: what the tests find, they have registered.
    registry = Registry("ansatz", "qhybrid.test", "qhybrid.errors")
    module = types.ModuleType("registry_under_test")
    module.register = registry.register
    monkeypatch.setitem(sys.modules, "registry_under_test", module)
    return registry


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lay an installed package of one module and its entry points on the path."""
    monkeypatch.syspath_prepend(tmp_path)

    def lay(package, code, *points):
        module = package.replace("-", "_")
        monkeypatch.delitem(sys.modules, module, raising=False)
        (tmp_path / f"{module}.py").write_text(f"from registry_under_test import register\n{code}")
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            "[qhybrid.test]\n" + "".join(f"{point} = {module}\n" for point in points)
        )

    return lay


ADD = "@register({name!r})\ndef build(options):\n    return {name!r}\n"


def test_an_entry_holds_its_builder_its_section_and_its_package(registry):
    @registry.register("mine", section=Options)
    def build(options, qubits):
        return options.angle * qubits

    entry = registry.find("mine")
    assert entry.builder(entry.options({"angle": 0.25}), 4) == 1.0
    assert entry.options({}).angle == 0.5
    assert entry.package == __name__.partition(".")[0]


@pytest.mark.parametrize("values", [{"angel": 1.0}, {"angle": "0.5"}])
def test_options_are_validated_strictly(registry, values):
    registry.register("mine", section=Options)(lambda options: options)
    with pytest.raises(ValidationError):
        registry.find("mine").options(values)


def test_an_entry_without_a_section_takes_no_options(registry):
    registry.register("mine")(lambda options: options)
    assert registry.find("mine").options({}) is not None
    with pytest.raises(ValidationError):
        registry.find("mine").options({"angle": 1.0})


def test_a_section_that_ignores_unknown_options_is_refused(registry):
    class Loose(BaseModel):
        angle: float = 0.5

    with pytest.raises(TypeError, match=r"`mine` must forbid unknown options"):
        registry.register("mine", section=Loose)


def test_an_option_may_not_be_called_as_the_entry_is(registry):
    class Named(Section):
        name: str = "x"

    with pytest.raises(TypeError, match=r"called `name`"):
        registry.register("mine", section=Named)


def test_a_name_that_is_left_out_on_purpose_has_a_reason(registry):
    registry.exclude("cube", "holds volumes")
    with pytest.raises(ConfigError, match=r"^ansatz `cube` holds volumes$"):
        registry.find("cube")


def test_installed_packages_are_loaded_at_the_first_look_up_and_not_before(registry, install):
    install("stranger-one", ADD.format(name="theirs"), "theirs")
    assert "stranger_one" not in sys.modules
    entry = registry.find("theirs")
    assert "stranger_one" in sys.modules
    assert (entry.package, entry.builder(None)) == ("stranger-one", "theirs")


def test_an_entry_point_may_register_names_other_than_its_own(registry, install):
    install("stranger-two", ADD.format(name="a") + ADD.format(name="b"), "anything")
    assert registry.packages() == {"a": "stranger-two", "b": "stranger-two"}


def test_an_unknown_name_is_told_what_is_registered_and_by_whom(registry, install):
    registry.register("ladder")(lambda options: None)
    install("stranger-three", ADD.format(name="brick_wall"), "brick_wall")
    with pytest.raises(ConfigError) as error:
        registry.find("brick_wal")
    here = __name__.partition(".")[0]
    assert str(error.value) == (
        "ansatz `brick_wal` is unknown, did you mean `brick_wall`? registered are "
        f"ladder (package `{here}`); brick_wall (package `stranger-three`)"
    )


def test_two_packages_that_register_one_name_are_both_named(registry, install):
    install("rival-one", ADD.format(name="same") + ADD.format(name="other").replace("build", "more"), "same")
    install("rival-two", ADD.format(name="same"), "same")
    with pytest.raises(
        ConfigError, match=r"^ansatz `same` is registered twice, by `rival-\w+` .* and `rival-\w+`"
    ) as error:
        registry.find("same")
    assert "rival-one" in str(error.value)
    assert "rival-two" in str(error.value)
    assert registry.find("other").package == "rival-one"


def test_a_package_may_not_take_a_name_of_ours(registry, install):
    registry.register("ladder")(lambda options: None)
    install("usurper", ADD.format(name="ladder"), "theirs")
    with pytest.raises(ConfigError, match=r"registered twice, by .* and `usurper`"):
        registry.find("ladder")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import a_library_nobody_has\n", "ModuleNotFoundError: No module named 'a_library_nobody_has'"),
        ("raise SystemExit('no licence')\n", "SystemExit: no licence"),
        (ADD.format(name="half") + "raise ValueError('two\\nlines')\n", "ValueError: two lines"),
    ],
)
def test_a_package_that_fails_on_import_is_named_and_the_others_work(registry, install, code, reason):
    install("broken-one", code, "half")
    install("sound-one", ADD.format(name="sound"), "sound")
    assert registry.find("sound").package == "sound-one"
    with pytest.raises(ConfigError) as error:
        registry.find("half")
    assert str(error.value) == f"ansatz `half` comes from package `broken-one`, which fails on import: {reason}"
    with pytest.raises(ConfigError) as error:
        registry.find("nothing")
    assert str(error.value) == (
        "ansatz `nothing` is unknown; registered are sound (package `sound-one`); "
        f"`half` of package `broken-one` fails on import: {reason}"
    )
    assert registry.failures() == {"half": ("broken-one", reason)}


def test_an_entry_point_that_registers_nothing_of_its_name_is_named(registry, install):
    install("empty-one", "", "promised")
    with pytest.raises(
        ConfigError, match=r"`promised` is an entry point of package `empty-one`, whose module registers"
    ):
        registry.find("promised")


def test_a_notebook_cell_may_run_twice(registry):
    for value in (1, 2):

        @registry.register("mine")
        def build(options, value=value):
            return value

    assert registry.find("mine").builder(None) == 2
