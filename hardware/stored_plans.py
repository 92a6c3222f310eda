"""Plans as JSON: what every bill has in common."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from hardware.errors import HardwareError
from qhybrid.errors import RunDirectoryError
from qhybrid.files import DamagedFileError, read_json
from qhybrid.stored import from_json


@dataclass(frozen=True)
class StoredPlan:
    """A bill that is kept as `plan.json`.

    Attributes:
        AGAIN: What to do where it was written by another version.
    """

    AGAIN: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able content of `plan.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            HardwareError: Damaged, or written by another version.
        """
        return cls._read(values, "plan.json")

    @classmethod
    def load(cls, path: Path) -> Self:
        """A plan that was written as JSON.

        Args:
            path: Path of the `plan.json` to be read.

        Raises:
            HardwareError: Damaged, or written by another version.
            RunDirectoryError: Missing, or no JSON.
        """
        try:
            values = read_json(path)
        except RunDirectoryError as error:
            raise RunDirectoryError(f"{error}: {cls.AGAIN}") from None
        return cls._read(values, f"`{path}`")

    @classmethod
    def _migrated(cls, values: Any) -> Any:
        """What an earlier version wrote as this one would have written it; kinds of plan that have changed say how."""
        return values

    @classmethod
    def _read(cls, values: Any, name: str) -> Self:
        try:
            return from_json(cls, cls._migrated(values))
        except DamagedFileError as error:
            raise HardwareError(f"{name} does not fit this version ({error}): {cls.AGAIN}") from None
