"""Registries of the five things that other packages can add by name.

Each registry maps a name to an entry: what builds the thing, the pydantic section of its own options, and the package
that it comes from. The package's own entries and those of installed packages use the same decorator:

    from qhybrid.config import Section
    from qhybrid.registry import register_ansatz

    class MyOptions(Section):
        angle: float = 0.5

    @register_ansatz("my_ansatz", section=MyOptions)
    def build(options: MyOptions, qubits: int, layers: int) -> CircuitSpec:
        ...

An installed package names the module that holds such a function as an entry point of the registry's group, in its
`pyproject.toml`: `[project.entry-points."qhybrid.ansatz"]` with `my_ansatz = "my_package.my_module"`. Entry points are
loaded at the first look-up, never at the start of the program. The first argument of every builder is the validated
section of options; what follows depends on the kind and is told where the kind is used.
"""

from __future__ import annotations

import difflib
import importlib
import sys
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from qhybrid.errors import ConfigError

BuilderT = TypeVar("BuilderT", bound=Callable[..., Any])

# The installed package whose entry point is being loaded. Shared by all registries, since one module may register
# entries of several kinds.
_loading: ContextVar[str | None] = ContextVar("loading", default=None)


class NoOptions(BaseModel):
    """The section of an entry that has no options."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


@dataclass(frozen=True)
class Entry:
    """One thing that a configuration can name.

    Attributes:
        name: The name in the configuration.
        builder: Called with the validated options, then with what its kind asks for.
        section: The pydantic model of the options; unknown options are refused.
        package: The installed package that registered it.
    """

    name: str
    builder: Callable[..., Any]
    section: type[BaseModel]
    package: str

    def options(self, values: Mapping[str, Any]) -> BaseModel:
        """Validate options strictly: no unknown ones, no silent conversion.

        Args:
            values: The options without the name, e.g. from a YAML file.

        Raises:
            pydantic.ValidationError: An option is unknown, missing or has a wrong value.
        """
        return self.section.model_validate(dict(values), strict=True)


@dataclass
class Registry:
    """All entries of one kind, by name; filled at the first look-up.

    Args:
        kind: What messages call one entry, e.g. `ansatz`.
        group: The entry point group of installed packages.
        home: The module that registers the entries of this package.
    """

    kind: str
    group: str
    home: str
    _entries: dict[str, list[Entry]] = field(default_factory=dict, init=False, repr=False)
    _failures: dict[str, tuple[str, str]] = field(default_factory=dict, init=False, repr=False)
    _loaded: bool = field(default=False, init=False, repr=False)
    _excluded: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    _points: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    _lock: Any = field(default_factory=threading.RLock, init=False, repr=False)

    def register(self, name: str, *, section: type[BaseModel] = NoOptions) -> Callable[[BuilderT], BuilderT]:
        """Decorate a builder so that a configuration can name it.

        Registering a name again from the same place (a notebook cell that runs twice) replaces the entry. Two places
        that register one name are an error as soon as the name is looked up.

        Args:
            name: The name in the configuration.
            section: The pydantic model of its options, a `qhybrid.config.Section`.

        Raises:
            TypeError: The section would let unknown options pass, or has an option called `name`.
        """
        if section.model_config.get("extra") != "forbid":
            raise TypeError(
                f"the section of {self.kind} `{name}` must forbid unknown options: use qhybrid.config.Section"
            )
        if "name" in section.model_fields:
            raise TypeError(f"an option of {self.kind} `{name}` is called `name`, as the entry itself is: rename it")

        def add(builder: BuilderT) -> BuilderT:
            package = _loading.get() or builder.__module__.partition(".")[0]
            others = [entry for entry in self._entries.get(name, []) if _place(entry.builder) != _place(builder)]
            self._entries[name] = [*others, Entry(name, builder, section, package)]
            return builder

        return add

    def exclude(self, name: str, reason: str) -> None:
        """Tell why a name that users may expect here is not registered.

        Args:
            name: Name that is not registered.
            reason: What the message says of it, e.g. `holds volumes; only two-dimensional sets are supported`.
        """
        self._excluded[name] = reason

    def find(self, name: str) -> Entry:
        """The entry of a name.

        Raises:
            ConfigError: Nobody registers the name (the line lists those registered and their packages), two places do,
                or the package that should have failed on import.
        """
        self._load()
        found = self._entries.get(name, [])
        if len(found) > 1:
            rivals = " and ".join(f"`{entry.package}` ({_place(entry.builder)})" for entry in found)
            raise ConfigError(f"{self.kind} `{name}` is registered twice, by {rivals}: uninstall one of them")
        if found:
            return found[0]
        if name in self._excluded:
            raise ConfigError(f"{self.kind} `{name}` {self._excluded[name]}")
        if name in self._failures:
            package, reason = self._failures[name]
            raise ConfigError(f"{self.kind} `{name}` comes from package `{package}`, which fails on import: {reason}")
        if name in self._points:
            raise ConfigError(
                f"{self.kind} `{name}` is an entry point of package `{self._points[name]}`, whose module registers "
                "nothing of that name"
            )
        raise ConfigError(f"{self.kind} `{name}` is unknown{self._hint(name)}")

    def packages(self) -> dict[str, str]:
        """The package of each registered name, in the order of registration."""
        self._load()
        return {name: found[0].package for name, found in self._entries.items()}

    def failures(self) -> dict[str, tuple[str, str]]:
        """Package and reason of each entry point that fails on import, by the entry point's name."""
        self._load()
        return dict(self._failures)

    def _load(self) -> None:
        """Import the modules of this package and of the installed ones that register entries, once."""
        with self._lock:
            if self._loaded:
                return
            importlib.import_module(self.home)
            self._loaded = True
            for point in entry_points(group=self.group):
                self._load_point(point)
            broken = {package for package, _ in self._failures.values()}
            for name, found in list(self._entries.items()):
                # A module that failed half-way may have registered something before it failed.
                sound = [e for e in found if e.package not in broken or e.builder.__module__ in sys.modules]
                self._entries[name] = sound
                if not sound:
                    del self._entries[name]

    def _load_point(self, point: EntryPoint) -> None:
        package = point.dist.name if point.dist else point.module
        self._points[point.name] = package
        token = _loading.set(package)
        try:
            point.load()
        # A stranger's module can fail in any way, and the other packages must work all the same.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            self._failures[point.name] = (package, " ".join(f"{type(error).__name__}: {error}".split()))
        finally:
            _loading.reset(token)

    def _hint(self, name: str) -> str:
        """What is registered by whom, the nearest name first, and which packages failed."""
        names: dict[str, list[str]] = {}
        for known, package in self.packages().items():
            names.setdefault(package, []).append(known)
        close = difflib.get_close_matches(str(name).lower(), list(self._entries), n=1)
        near = f", did you mean `{close[0]}`?" if close else ";"
        registered = "; ".join(f"{', '.join(known)} (package `{package}`)" for package, known in names.items())
        failed = "".join(
            f"; `{point}` of package `{package}` fails on import: {reason}"
            for point, (package, reason) in self._failures.items()
        )
        return f"{near} registered are {registered}{failed}"


def _place(builder: Callable[..., Any]) -> str:
    """Where a builder is defined, as `module.name`."""
    return f"{builder.__module__}.{getattr(builder, '__qualname__', type(builder).__qualname__)}"


ANSAETZE = Registry("ansatz", "qhybrid.ansatz", "qhybrid.quantum.circuits.ansatz")
DATA_SETS = Registry("data set", "qhybrid.data", "qhybrid.data.registry")
NOISE_SOURCES = Registry("noise source", "qhybrid.noise", "qhybrid.diffusion.sources")
SAMPLERS = Registry("sampler", "qhybrid.sampler", "qhybrid.diffusion.samplers")
BOTTLENECK_CORES = Registry("bottleneck core", "qhybrid.bottleneck", "qhybrid.models.cores")

REGISTRIES = (ANSAETZE, DATA_SETS, NOISE_SOURCES, SAMPLERS, BOTTLENECK_CORES)

register_ansatz = ANSAETZE.register
register_data = DATA_SETS.register
register_noise = NOISE_SOURCES.register
register_sampler = SAMPLERS.register
register_bottleneck = BOTTLENECK_CORES.register
