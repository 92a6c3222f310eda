"""What is inside an Aer `NoiseModel`: the one place that reads or writes attributes that Aer does not publish.

Aer has no public way to ask a noise model for its errors. A new version of Aer that changes one of these attributes
breaks `tests/quantum/noise/test_quantum_aer_model.py` and nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from qiskit.circuit import Delay

Qubits = tuple[int, ...]


@dataclass(frozen=True)
class QuantumErrors:
    """Errors of gates, by the name or label of the instruction that they follow.

    Attributes:
        default: Errors for all qubits.
        local: Errors for certain qubits, which take the place of those for all.
    """

    default: Mapping[str, Any]
    local: Mapping[str, Mapping[Qubits, Any]]

    def find(self, name: str, qubits: Qubits) -> Any:
        """The `QuantumError` that follows an instruction on these qubits; `None` if there is none."""
        return self.local.get(name, {}).get(qubits, self.default.get(name))


@dataclass(frozen=True)
class ReadoutErrors:
    """Errors of the readout.

    Attributes:
        default: The error for all qubits, if any.
        local: Errors for certain qubits, which take its place.
    """

    default: Any
    local: Mapping[Qubits, Any]


def quantum_errors(model: Any) -> QuantumErrors:
    """The errors of gates of a noise model."""
    return QuantumErrors(model._default_quantum_errors, model._local_quantum_errors)


def readout_errors(model: Any) -> ReadoutErrors:
    """The errors of the readout of a noise model."""
    return ReadoutErrors(model._default_readout_error, model._local_readout_errors)


def noise_passes(model: Any) -> list[Any]:
    """The passes of a noise model, which add noise that depends on more than an instruction's name."""
    return list(model._custom_noise_passes)


def add_noise_pass(model: Any, item: Any) -> None:
    """Add a pass to a noise model."""
    model._custom_noise_passes.append(item)


def is_local_and_behind(item: Any) -> bool:
    """Whether a pass adds noise behind single instructions and does nothing else."""
    from qiskit_aer.noise import LocalNoisePass

    return isinstance(item, LocalNoisePass) and item._method == "append"


def error_of_pass(item: Any, operation: Any, qubits: Qubits) -> Any:
    """What a local pass adds behind an instruction on these qubits; `None` for nothing.

    Args:
        item: A local pass of a noise model.
        operation: Instruction that the pass looks at.
        qubits: Qubits that the instruction acts on.
    """
    if item._ops and not isinstance(operation, item._ops):
        return None
    return item._func(operation, list(qubits))


def relaxation_values(item: Any) -> dict[str, Any] | None:
    """Times and populations of a pass for the relaxation of delays; `None` if it is another pass.

    Returns:
        `t1s` and `t2s` in seconds, one per qubit, `excited_state_populations`, and `dt` in seconds or `None`.
    """
    from qiskit_aer.noise import RelaxationNoisePass

    # Of delays the pass reads the durations in the circuit, whatever target it holds.
    if not isinstance(item, RelaxationNoisePass) or item._ops != (Delay,):
        return None
    return {
        "t1s": np.asarray(item._t1s),
        "t2s": np.asarray(item._t2s),
        "excited_state_populations": np.asarray(item._p1s),
        "dt": item._dt,
    }


def without_readout(model: Any) -> Any:
    """A copy of a noise model that reads out perfectly."""
    clean = copy.deepcopy(model)
    clean._default_readout_error = None
    clean._local_readout_errors = {}
    clean._default_quantum_errors.pop("measure", None)
    clean._local_quantum_errors.pop("measure", None)
    return clean
