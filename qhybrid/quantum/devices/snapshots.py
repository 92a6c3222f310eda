"""Local copies of IBM devices: a snapshot by name, a part of it, its noise model.

Snapshots come with qiskit-ibm-runtime: the couplings, gate and readout errors, durations, T1 and T2 of one day. A
circuit of a few qubits is simulated on the part of the device that it uses (`crop`): a simulator that prepares and
measures all 133 qubits of a snapshot runs out of memory.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qiskit.circuit import Parameter
from qiskit.circuit.library import RZGate, SXGate
from qiskit.providers import BackendV2
from qiskit.transpiler import InstructionProperties, QubitProperties, Target

from qhybrid.errors import CircuitError
from qhybrid.quantum.devices.calibration import SavedBackend, read_calibration
from qhybrid.quantum.devices.local_device import LocalDevice


@functools.cache
def _snapshot_classes() -> dict[str, type[BackendV2]]:
    from qiskit_ibm_runtime import fake_provider

    classes = (getattr(fake_provider, name) for name in dir(fake_provider) if name.startswith("Fake"))
    # The provider class itself also starts with `Fake`; only devices carry a backend name.
    return {item.backend_name: item for item in classes if hasattr(item, "backend_name")}


def snapshot_names() -> list[str]:
    """Names that `snapshot` knows, sorted: `fake_aachen` to `fake_yorktown`."""
    return sorted(_snapshot_classes())


def snapshot(name: str) -> BackendV2:
    """The local copy of an IBM device.

    Args:
        name: The copy's name, e.g. `fake_torino` (133 qubits) or `fake_manila` (5 qubits), or the path of a
            calibration file (`.json`; see `qhybrid.quantum.devices.calibration`).

    Raises:
        CircuitError: There is no copy of that name; the nearest names are listed. The file is no calibration.
    """
    if name.endswith(".json"):
        return read_calibration(Path(name))
    classes = _snapshot_classes()
    if name not in classes:
        near = difflib.get_close_matches(name.lower(), classes, n=5, cutoff=0.3) or ["fake_manila", "fake_torino"]
        raise CircuitError(f"there is no local copy of a device named `{name}`; nearest names: {', '.join(near)}")
    return classes[name]()


_DENSITY_MATRIX_QUBITS = 8


class CroppedBackend(LocalDevice):
    """Some qubits of a device, renumbered 0..k-1, with the device's errors, durations and couplings.

    Attributes:
        physical_qubits: Number on the whole device of each qubit of this backend.
        device_name: Name of the whole device.
    """

    def __init__(self, device: BackendV2, qubits: Sequence[int]) -> None:
        numbers = getattr(device, "physical_qubits", None) if isinstance(device, CroppedBackend) else None
        self.physical_qubits: tuple[int, ...] = tuple(numbers[q] for q in qubits) if numbers else tuple(qubits)
        self.device_name: str = device.device_name if isinstance(device, CroppedBackend) else device.name
        super().__init__(
            _crop_target(device.target, qubits),
            name=f"{self.device_name}[{','.join(map(str, self.physical_qubits))}]",
            description=f"qubits {', '.join(map(str, self.physical_qubits))} of {self.device_name}",
            backend_version=device.backend_version,
        )

    @functools.cached_property
    def simulator(self) -> Any:
        """Aer's simulator with this backend's noise.

        Up to 8 qubits it evolves the density matrix. Left to itself, Aer goes through single shots where a circuit has
        few of them, as each of the many variants of a twirled circuit has: 3 times slower at 8 qubits.
        """
        from qiskit_aer import AerSimulator

        small = self.num_qubits <= _DENSITY_MATRIX_QUBITS
        return AerSimulator.from_backend(_with_pulse_gates(self), method="density_matrix" if small else "automatic")


def crop(backend: BackendV2, qubits: Sequence[int]) -> CroppedBackend:
    """The part of a device that consists of some of its qubits.

    Qubit `i` of the part is qubit `qubits[i]` of the device; gate errors, readout errors, durations, T1, T2, couplings
    and the time step `dt` are the device's. Instructions that reach outside the part are dropped.

    Args:
        backend: The device, or a part of one.
        qubits: Distinct qubit numbers of `backend`, in the order that they shall have.

    Raises:
        CircuitError: No qubits, a qubit twice, or one that the device does not have.
    """
    wanted = [int(q) for q in qubits]
    foreign = sorted({q for q in wanted if not 0 <= q < backend.num_qubits})
    if foreign:
        raise CircuitError(f"`{backend.name}` has qubits 0 to {backend.num_qubits - 1}, not {foreign}")
    if not wanted or len(set(wanted)) != len(wanted):
        raise CircuitError(f"a part of `{backend.name}` needs at least one qubit and each once, found {wanted}")
    return CroppedBackend(backend, wanted)


def noise_model(backend: BackendV2) -> Any:
    """Aer's `NoiseModel` of a device: depolarizing and relaxation errors of its gates, readout errors.

    Crop a large device first: Aer builds the errors of every qubit (4 s for 133 qubits).
    """
    from qiskit_aer.noise import NoiseModel

    return NoiseModel.from_backend(backend)


# A device whose gates are u1, u2 and u3 plays them as frame changes and quarter turns: u2 is one pulse, u3 two.
_PULSE_GATES = (("rz", RZGate(Parameter("angle")), "u1"), ("sx", SXGate(), "u2"))


def _with_pulse_gates(backend: BackendV2) -> BackendV2:
    """The device itself, or one of u1, u2 and u3 with rz and sx beside them, at the errors of u1 and u2.

    Runtime's client writes its changes of basis in rz and sx whatever the device has, and Aer refuses a gate that the
    device lacks.
    """
    target = backend.target
    missing = [item for item in _PULSE_GATES if item[0] not in target.operation_names and item[2] in target]
    if not missing:
        return backend
    wider = _crop_target(target, range(target.num_qubits))
    for name, gate, like in missing:
        entries = {where: _copy_instruction(what) for where, what in target[like].items()}
        wider.add_instruction(gate, entries, name=name)
    return SavedBackend(str(backend.name), wider, None)


def _crop_target(target: Target, qubits: Sequence[int]) -> Target:
    new_number = {old: new for new, old in enumerate(qubits)}
    properties = target.qubit_properties
    part = Target(
        description=target.description,
        num_qubits=len(qubits),
        dt=target.dt,
        granularity=target.granularity,
        min_length=target.min_length,
        pulse_alignment=target.pulse_alignment,
        acquire_alignment=target.acquire_alignment,
        qubit_properties=[_copy_qubit(properties[q]) for q in qubits] if properties is not None else None,
    )
    for name in sorted(target.operation_names):
        operation = target.operation_from_name(name)
        entries = target[name]
        if isinstance(operation, type) or entries is None or None in entries:
            # Control flow and other operations that hold for any qubits alike.
            part.add_instruction(operation, name=name)
            continue
        kept = {
            tuple(new_number[q] for q in where): _copy_instruction(what)
            for where, what in entries.items()
            if all(q in new_number for q in where)
        }
        if kept:
            part.add_instruction(operation, kept, name=name)
    return part


def _copy_qubit(properties: QubitProperties) -> QubitProperties:
    return QubitProperties(t1=properties.t1, t2=properties.t2, frequency=properties.frequency)


def _copy_instruction(properties: InstructionProperties | None) -> InstructionProperties | None:
    return properties and InstructionProperties(duration=properties.duration, error=properties.error)
