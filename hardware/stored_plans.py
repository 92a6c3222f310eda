"""Plans as JSON: what every bill has in common."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from hardware.errors import HardwareError
from qhybrid.files import DamagedFileError
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
        try:
            return from_json(cls, values)
        except DamagedFileError as error:
            raise HardwareError(f"plan.json does not fit this version ({error}): {cls.AGAIN}") from None
