"""Results as the client decodes them, in the client's own JSON (`RuntimeEncoder`), beside the checked npz files.

The npz files are what runs and comparisons read. These hold the rest: values at each noise factor, the Sampler's bits,
the options in force, the times of execution. `json.loads(text, cls=RuntimeDecoder)` reads them without this package.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from qiskit.primitives import PrimitiveResult
from qiskit_ibm_runtime import RuntimeDecoder, RuntimeEncoder

from hardware.errors import HardwareError
from qhybrid.files import atomic_path


class _Encoder(RuntimeEncoder):  # type: ignore[misc]  # qiskit_ibm_runtime is untyped
    """The client's encoder does not know the client's own metadata class (0.51), nor all of numpy's scalars."""

    def default(self, obj: Any) -> Any:
        if isinstance(obj, np.generic):
            return obj.item()
        if is_dataclass(obj) and not isinstance(obj, type):
            return {field.name: getattr(obj, field.name) for field in fields(obj)}
        try:
            return super().default(obj)
        except TypeError:
            # Metadata of a later version must not cost a result that was paid for.
            return str(obj)


def write_primitive_results(path: Path, results: Sequence[PrimitiveResult[Any]]) -> None:
    """Write the results of a job, atomically; several where copies of a circuit were simulated one by one."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(list(results), cls=_Encoder), encoding="utf-8")


def read_primitive_results(path: Path) -> list[PrimitiveResult[Any]]:
    """Read `results/*.json` of a run.

    Returns:
        One `PrimitiveResult` per job, or per copy of a circuit that was simulated alone. Of the Estimator: `evs`,
        `stds` and with extrapolation more, `(n_out, B)`; of the Sampler: the register `measured` of each circuit.

    Raises:
        HardwareError: Missing, damaged, or another kind of file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"), cls=RuntimeDecoder)
    except (OSError, ValueError) as error:
        raise HardwareError(f"`{path}` cannot be read ({' '.join(str(error).split())})") from None
    if not isinstance(found, list) or not all(isinstance(item, PrimitiveResult) for item in found):
        raise HardwareError(f"`{path}` holds no results of Runtime's primitives")
    return found
