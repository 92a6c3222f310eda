"""Quantum noise simulated on Aer: measured shots of a circuit, without noise or with that of a device snapshot.

`quantum_bits` measures qubits in superposition. `quantum_intrinsic` measures an entangling circuit a finite number of
times; how its expectation values fluctuate around their exact, decohered values, in units of their standard deviation,
is the noise. One evaluation of n qubits fills a patch of n pixels, whose correlations are those of the circuit and of
the device and are kept on purpose.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qhybrid.config import SimulatedNoiseConfig
from qhybrid.diffusion.bits import HASH_BLOCK, BitLaw, Bits, min_entropy, toeplitz, von_neumann
from qhybrid.diffusion.errors import NoiseError
from qhybrid.seeds import Stream, plain_generator

IDEAL = "aer"
_LAYERS = 2
_ANGLE_SEED = 0
_CALIBRATION_SHOTS = 1 << 15
# Raw bits that are measured for each wanted one, so that one attempt nearly always gives enough; a further one follows
# where it does not. Von Neumann's method keeps one of four bits on average, and of few bits chance may keep fewer. The
# hash gives up some bits of every block, and works on whole blocks.
_VON_NEUMANN_COST, _VON_NEUMANN_SPARE = 4.2, 256
_TOEPLITZ_COST = 1.1


class MeasuredCircuit:
    """A circuit whose qubits are all measured, on Aer or on the best place of a device snapshot.

    Args:
        circuit: Circuit without parameters and measurements.
        device: Name of a device snapshot, or `aer`.

    Attributes:
        part: The qubits of the device that are used; `None` on Aer.
        noise: Aer `NoiseModel` of these qubits; `None` on Aer.

    Raises:
        CircuitError: There is no such snapshot, or the circuit does not fit it.
    """

    def __init__(self, circuit: Any, device: str) -> None:
        from qiskit import transpile

        from qhybrid.quantum.devices.embedding import best_embedding
        from qhybrid.quantum.devices.snapshots import crop, noise_model, snapshot

        self.circuit = circuit
        self.device = device
        self.part: Any = None
        self._native = circuit
        self.noise: Any = None
        if device != IDEAL:
            backend = snapshot(device)
            self.part = crop(backend, best_embedding(circuit, backend))
            places = list(range(circuit.num_qubits))
            self._native = transpile(circuit, self.part, initial_layout=places, optimization_level=1, seed_transpiler=0)
            self.noise = noise_model(self.part)

    @property
    def num_qubits(self) -> int:
        """Number of measured qubits."""
        return int(self.circuit.num_qubits)

    def shots(self, name: Stream, count: int, attempt: int | None = None) -> Bits:
        """Measured bits of the stream `name`; the same name gives the same shots.

        Args:
            name: Name of the stream.
            count: Number of shots.
            attempt: Which of several draws that together make up one stream.

        Returns:
            uint8 `(count, num_qubits)` of 0 and 1.
        """
        draws = name.shots_generator(attempt).random(count) * self._cumulative[-1]
        words = np.searchsorted(self._cumulative, draws, side="right").astype(np.uint32)
        bits: Bits = ((words[:, None] >> np.arange(self.num_qubits, dtype=np.uint32)) & 1).astype(np.uint8)
        return bits

    @functools.cached_property
    def _cumulative(self) -> NDArray[np.float64]:
        """Running sum of the probabilities of the `2^num_qubits` outcomes, readout error included.

        The circuit is always the same, so Aer computes its law once; it would do so again in every job of shots.
        """
        from qiskit_aer import AerSimulator

        from qhybrid.quantum.noise.readout import readout_factors

        method = "statevector" if self.noise is None else "density_matrix"
        circuit = self._native.copy()
        circuit.save_probabilities()
        # One thread: the shots of a seed must not depend on the machine.
        simulator = AerSimulator(method=method, noise_model=self.noise, max_parallel_threads=1)
        law = np.asarray(simulator.run(circuit).result().data(0)["probabilities"], dtype=np.float64)
        if self.noise is not None:
            law = _as_read(law, readout_factors(self.noise, self.num_qubits))
        return np.cumsum(law)

    def expectations(self) -> NDArray[np.float64]:
        """Exact `<Z_i>` `(num_qubits,)`, with gate and readout errors."""
        from qhybrid.quantum.circuits.observables import z_observables
        from qhybrid.quantum.estimators.aer import AerEstimator

        estimator = AerEstimator(device=self.part)
        (answer,) = estimator.run([(self.circuit, list(z_observables(self.num_qubits)))]).result()
        return np.asarray(answer.data.evs, dtype=np.float64)

    def provenance(self) -> dict[str, Any]:
        """Where the shots come from, for a bank's record."""
        from qiskit import qasm3

        part = self.part
        return {
            "backend": self.device,
            "qubits": list(range(self.num_qubits)) if part is None else list(part.physical_qubits),
            "calibration": None if part is None else f"snapshot {part.device_name}, version {part.backend_version}",
            "circuit": qasm3.dumps(self._native.measure_all(inplace=False)),
            "job_ids": [],
        }


class SimulatedBits:
    """`quantum_bits`: debiased bits of qubits in superposition, as normal numbers of k-bit resolution."""

    def __init__(self, config: SimulatedNoiseConfig) -> None:
        from qiskit import QuantumCircuit

        circuit = QuantumCircuit(config.qubits)
        circuit.h(range(config.qubits))
        self.law = BitLaw(config.resolution)
        self.circuit = MeasuredCircuit(circuit, config.device)
        self.extractor = config.extractor

    @functools.cached_property
    def entropy(self) -> float:
        """Estimated min-entropy per raw bit, from shots that are used for nothing else."""
        return min_entropy(self.circuit.shots(Stream("calibration"), _CALIBRATION_SHOTS))

    def bits(self, name: Stream, count: int) -> Bits:
        """`(count,)` bits of the stream `name`."""
        parts: list[Bits] = []
        have = attempt = 0
        while have < count:
            part = self._extract(self.circuit.shots(name, self._shots_for(count - have), attempt))
            parts.append(part)
            have += part.size
            attempt += 1
        return np.concatenate([np.zeros(0, np.uint8), *parts])[:count]

    def integers(self, name: Stream, count: int) -> NDArray[np.uint16]:
        """`(count,)` k-bit integers of the stream `name`."""
        return self.law.integers(self.bits(name, count * self.law.resolution))

    def draw(self, name: Stream, shape: Sequence[int]) -> Tensor:
        """Numbers of a stream, float32 of the shape asked for; the same stream and shape give the same numbers."""
        numbers = self.law.normals(self.integers(name, math.prod(shape)))
        return torch.from_numpy(numbers).reshape(tuple(shape))

    def _extract(self, raw: Bits) -> Bits:
        if self.extractor == "von_neumann":
            return von_neumann(raw)
        return raw.reshape(-1) if self.extractor == "none" else toeplitz(raw, self.entropy)

    def _shots_for(self, bits: int) -> int:
        needed = {
            "none": bits,
            "von_neumann": _VON_NEUMANN_COST * bits + _VON_NEUMANN_SPARE,
            "toeplitz": _TOEPLITZ_COST * bits / self._rate + 2 * HASH_BLOCK,
        }
        return math.ceil(needed[self.extractor] / self.circuit.num_qubits)

    @property
    def _rate(self) -> float:
        return max(0.05, self.entropy) if self.extractor == "toeplitz" else 1.0


class SimulatedFluctuations:
    """`quantum_intrinsic`: standardized fluctuations of the expectation values of an entangling circuit."""

    def __init__(self, config: SimulatedNoiseConfig) -> None:
        self.shots = config.shots
        self.patch = patch_of(config.qubits)
        self.circuit = MeasuredCircuit(entangling_circuit(config.qubits), config.device)
        self.mean = self.circuit.expectations()
        self.deviation = np.sqrt((1 - self.mean**2) / self.shots)

    def evaluations(self, name: Stream, count: int) -> NDArray[np.float32]:
        """`(count, num_qubits)` standardized fluctuations of the stream `name`."""
        raw = self.circuit.shots(name, count * self.shots).reshape(count, self.shots, -1)
        return standardize(1 - 2 * raw.mean(axis=1), self.mean, self.deviation)

    def draw(self, name: Stream, shape: Sequence[int]) -> Tensor:
        """Numbers of a stream, float32 of the shape asked for; the same stream and shape give the same numbers."""
        check_patch(self.patch, shape, f"{self.circuit.num_qubits} qubits")
        values = self.evaluations(name, math.prod(shape) // math.prod(self.patch))
        return torch.from_numpy(lay_patches(values.reshape(-1), self.patch, shape))


def entangling_circuit(qubits: int) -> Any:
    """The circuit of `quantum_intrinsic`, a `QuantumCircuit`: angles that leave every <Z_i> far from its ends."""
    from qhybrid.quantum.circuits.ansatz import build_spec

    spec = build_spec("ry_rz_ladder", qubits, _LAYERS)
    parameters = [*spec.inputs, *spec.weights]
    angles = plain_generator(_ANGLE_SEED).uniform(0.25 * np.pi, 0.75 * np.pi, len(parameters))
    return spec.circuit.assign_parameters(dict(zip(parameters, angles, strict=True)))


def _as_read(law: NDArray[np.float64], factors: dict[int, tuple[float, float]]) -> NDArray[np.float64]:
    """The law of the outcomes that are read, for Z -> offset + slope Z on each qubit; qubit 0 is the last bit."""
    qubits = law.size.bit_length() - 1
    table = law.reshape((2,) * qubits)
    for qubit, (offset, slope) in factors.items():
        read = np.array([[1 + offset + slope, 1 + offset - slope], [1 - offset - slope, 1 - offset + slope]]) / 2
        axis = qubits - 1 - qubit
        table = np.moveaxis(np.tensordot(read, table, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(table).reshape(-1)


def standardize(
    values: NDArray[np.float64], mean: NDArray[np.float64], deviation: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Fluctuations of expectation values in units of each pixel's standard deviation, `(E, n)`.

    Args:
        values: Expectation values `(E, n)` in [-1, 1].
        mean: What each pixel fluctuates around, `(n,)`.
        deviation: Standard deviation of each pixel, `(n,)`.
    """
    return ((values - mean) / deviation).astype(np.float32)


def patch_of(qubits: int) -> tuple[int, int]:
    """Height and width of the patch of pixels that n qubits fill: as square as n allows."""
    height = next(h for h in range(math.isqrt(qubits), 0, -1) if qubits % h == 0)
    return height, qubits // height


def check_patch(patch: tuple[int, int], shape: Sequence[int], what: str) -> None:
    """Refuse images that are not made of whole patches.

    Args:
        patch: Height and width of a patch in pixels.
        shape: Shape of the images, `(..., H, W)`.
        what: What a message calls the source of the patches, e.g. `8 qubits`.

    Raises:
        NoiseError: Images of this shape are not made of whole patches.
    """
    if shape[-2] % patch[0] or shape[-1] % patch[1]:
        raise NoiseError(
            f"{what} fill patches of {patch[0]}x{patch[1]} pixels, of which images of {shape[-2]}x{shape[-1]} cannot "
            "be made: use another number of qubits"
        )


def lay_patches(values: NDArray[np.float32], patch: tuple[int, int], shape: Sequence[int]) -> NDArray[np.float32]:
    """Lay patches side by side into images of `shape`.

    Args:
        values: Numbers of one patch after the other, `(N,)`.
        patch: Height and width of a patch in pixels.
        shape: Shape of the images, `(..., H, W)`.
    """
    (h, w), (*lead, H, W) = patch, shape
    tiles = values.reshape(-1, H // h, W // w, h, w).transpose(0, 1, 3, 2, 4)
    return np.ascontiguousarray(tiles).reshape(*lead, H, W)
