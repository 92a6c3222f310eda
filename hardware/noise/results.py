"""From the measured bits of a device to the numbers of a bank and what is known of them, job after job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hardware.arrays import read_arrays
from hardware.errors import HardwareError
from hardware.jobs.job_log import TAG_LENGTH, Work
from hardware.noise.circuits import TILE_QUBITS
from qhybrid.config import NoiseBankConfig
from qhybrid.diffusion.bits import BitLaw, Bits, min_entropy, toeplitz, von_neumann
from qhybrid.diffusion.simulate import lay_patches, patch_of, standardize
from qhybrid.files import atomic_path

_PIECE = 1 << 16


class BitStore:
    """Measured bits of each job as npz files, eight to a byte."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, work: Work) -> Path:
        """File of a job's bits."""
        return self.folder / f"job-{work.step:03d}-{work.content[:TAG_LENGTH]}.npz"

    def save(self, work: Work, result: Bits, provenance: dict[str, Any]) -> Path:
        """Write bits `(shots, qubits)` and where they come from.

        Args:
            work: Task of the job: its angles and what identifies them.
            result: Measured bits 0 and 1, uint8 `(shots, qubits)`.
            provenance: Backend, job and date, JSON-able.
        """
        path = self.path(work)
        with atomic_path(path) as temporary:
            np.savez(
                temporary,
                bits=np.packbits(result, axis=1),
                qubits=np.array(result.shape[1]),
                content=np.array(work.content),
                provenance=np.array(json.dumps(provenance)),
            )
        return path

    def load(self, work: Work) -> Bits | None:
        """Stored bits, or `None`.

        Raises:
            HardwareError: The file is damaged or holds another job's.
        """
        path = self.path(work)
        if not path.exists():
            return None
        stored = read_arrays(path, ("bits", "qubits", "content"))
        if str(stored["content"]) != work.content:
            raise HardwareError(f"`{path}` holds the bits of another job: remove it")
        return np.unpackbits(stored["bits"], axis=1, count=int(stored["qubits"]))


class Gathered(Protocol):
    """What a bank's jobs have given so far."""

    def add(self, raw: Bits) -> None:
        """Take the bits `(shots, qubits)` of the next job."""

    @property
    def normals(self) -> int:
        """Noise values so far."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the bank's array."""

    def law(self) -> dict[str, Any]:
        """The record's law."""

    def provenance(self) -> dict[str, Any]:
        """What was measured, for the record."""

    def pieces(self) -> Iterator[NDArray[Any]]:
        """The bank's numbers in order."""


def gather(config: NoiseBankConfig, patch: tuple[int, int]) -> Gathered:
    """What gathers the numbers of a bank's source; it holds none yet."""
    return GatheredBits(config) if config.source == "quantum_bits" else GatheredFluctuations(config, patch)


class GatheredBits:
    """`quantum_bits`: extracted bits as integers of k bits each.

    A job's bits are extracted by themselves: pairs of shots and blocks do not reach from job to job, and the hash is
    sized by the min-entropy of that job's own bits, since a device drifts.
    """

    def __init__(self, config: NoiseBankConfig) -> None:
        self._config = config
        self._law = BitLaw(config.resolution)
        self._integers: list[NDArray[np.uint16]] = []
        self._rest: Bits = np.zeros(0, np.uint8)
        self._raw_shots = 0
        self._extracted = 0
        self._ones: Any = 0
        self._serial: Any = 0
        self._entropies: list[float] = []

    def add(self, raw: Bits) -> None:
        """Take up the measured bits of one job, uint8 `(shots, qubits)`."""
        entropy = min_entropy(raw)
        bits = self._extract(raw, entropy)
        self._extracted += bits.size
        self._raw_shots += len(raw)
        self._ones = self._ones + raw.sum(axis=0, dtype=np.int64)
        self._serial = self._serial + len(raw) * _serial_correlation(raw)
        self._entropies.append(entropy)
        whole = np.concatenate([self._rest, bits])
        used = whole.size // self._law.resolution * self._law.resolution
        self._integers.append(self._law.integers(whole[:used]))
        self._rest = whole[used:]

    @property
    def normals(self) -> int:
        """Number of noise values so far."""
        return sum(part.size for part in self._integers)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the bank's numbers."""
        return (self._config.normals,)

    def law(self) -> dict[str, Any]:
        """Parameters of the law that the numbers follow, as the bank's record keeps them."""
        return {"resolution": self._config.resolution}

    def provenance(self) -> dict[str, Any]:
        """How the numbers were measured, as the bank's record keeps it."""
        shots, qubits = self._raw_shots, len(self._ones)
        return {
            "executions": shots,
            "raw_bits": shots * qubits,
            "raw_bias": (self._ones / shots - 0.5).tolist(),
            "raw_serial_correlation": (self._serial / shots).tolist(),
            "raw_min_entropy_per_bit": min(self._entropies),
            "extractor": self._config.extractor,
            "extractor_yield": self._extracted / (shots * qubits),
        }

    def pieces(self) -> Iterator[NDArray[np.uint16]]:
        """The bank's numbers, a piece at a time."""
        integers = np.concatenate(self._integers)[: self._config.normals]
        for start in range(0, integers.size, _PIECE):
            yield integers[start : start + _PIECE]

    def _extract(self, raw: Bits, entropy: float) -> Bits:
        if self._config.extractor == "von_neumann":
            return von_neumann(raw)
        return raw.reshape(-1) if self._config.extractor == "none" else toeplitz(raw, entropy)


class GatheredFluctuations:
    """`quantum_intrinsic`: expectation values of a few shots each, one row for all places of an evaluation.

    What they fluctuate around is not known on a device, so mean and standard deviation of each pixel are those of the
    bank itself. A device that drifts deviates by more than shot noise, which the record tells.
    """

    def __init__(self, config: NoiseBankConfig, patch: tuple[int, int]) -> None:
        self._config = config
        self._patch = patch
        self._values: list[NDArray[np.float32]] = []

    def add(self, raw: Bits) -> None:
        """Take up the measured bits of one job, uint8 `(shots, qubits)`."""
        evaluations = raw.reshape(-1, self._config.shots, raw.shape[1])
        self._values.append((1 - 2 * evaluations.mean(axis=1)).astype(np.float32))

    @property
    def normals(self) -> int:
        """Number of noise values so far."""
        return sum(part.size for part in self._values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the bank's numbers."""
        pixels = self._patch[0] * self._patch[1]
        return -(-self._config.normals // pixels), pixels

    def law(self) -> dict[str, Any]:
        """Parameters of the law that the numbers follow, as the bank's record keeps them."""
        values = self._rows()
        deviation = values.std(axis=0)
        return {
            "shots": self._config.shots,
            "patch": list(self._patch),
            "mean": values.mean(axis=0).tolist(),
            "deviation": deviation.tolist(),
            "covariance": (np.cov(values, rowvar=False, ddof=0) / np.outer(deviation, deviation)).tolist(),
        }

    def provenance(self) -> dict[str, Any]:
        """How the numbers were measured, as the bank's record keeps it."""
        values = self._rows()
        shot_noise = np.sqrt((1 - values.mean(axis=0) ** 2) / self._config.shots)
        return {
            "executions": self._config.shots * sum(len(part) for part in self._values),
            "shots": self._config.shots,
            "deviation_to_shot_noise": (values.std(axis=0) / shot_noise).tolist(),
        }

    def pieces(self) -> Iterator[NDArray[np.float32]]:
        """The bank's numbers, a piece at a time."""
        values, law = self._rows(), self.law()
        yield standardize(values, np.array(law["mean"]), np.array(law["deviation"]))

    def _rows(self) -> NDArray[np.float64]:
        """`(evaluations, pixels)`, the tiles of all places side by side in the patch."""
        values = np.concatenate(self._values)[: self.shape[0]].astype(np.float64)
        return values[:, _tile_order(self._patch, patch_of(self._config.qubits or TILE_QUBITS))]


def _tile_order(patch: tuple[int, int], tile: tuple[int, int]) -> NDArray[np.intp]:
    """Which measured qubit each pixel of a patch is: qubits place after place, pixels row after row."""
    qubits: NDArray[Any] = np.arange(patch[0] * patch[1])
    return lay_patches(qubits, tile, patch).reshape(-1).astype(np.intp)


def _serial_correlation(raw: Bits) -> NDArray[np.float64]:
    """Of successive shots, for each qubit `(qubits,)`: what von Neumann's debiasing relies on to be nothing."""
    centred = raw - raw.mean(axis=0)
    power = (centred**2).sum(axis=0)
    return np.asarray((centred[:-1] * centred[1:]).sum(axis=0) / np.where(power > 0, power, 1.0))
