"""What states a circuit reaches: expressibility and entangling capability (Sim et al., arXiv 1905.10876).

Expressibility is the Kullback-Leibler divergence of the histogram of fidelities |<psi_a|psi_b>|^2 between states at
two random parameter vectors, from that of Haar-random states, P(F) = (N - 1) (1 - F)^(N - 2) with N = 2^n. 0 is as
expressive as random states; (N - 1) ln(bins) is a circuit that always gives the same state.

Entangling capability is the mean of the Meyer-Wallach measure Q = 2 (1 - mean_k Tr rho_k^2): 0 for product states, 1 if
every qubit is maximally mixed by itself.

Both speak of states, not of training: the published circuit scores well on both and no weight of it has a gradient.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.feasibility import require_feasible
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.engine.statevector.states import States, simulate
from qhybrid.seeds import generator, plain_generator

BINS = 75
"""Bins of the fidelity histogram, as in the paper."""
_FLOOR_REPEATS = 50


@dataclass(frozen=True)
class Capability:
    """Expressibility and entangling capability.

    Attributes:
        expressibility: KL divergence from Haar, in nats; smaller is more expressive.
        haar_floor: Divergence in nats that Haar-random states themselves give with as many pairs: the bias of the
            estimate.
        idle: Divergence in nats of a circuit that always gives the same state, (2^n - 1) ln(bins).
        entanglement: Mean Meyer-Wallach Q, 0 to 1.
        entanglement_spread: Standard deviation of Q over the draws.
        haar_entanglement: Mean Q of Haar-random states, (2^n - 2) / (2^n + 1).
        pairs: Number of pairs of states behind the histogram.
        seed: Seed of the random angles.
    """

    expressibility: float
    haar_floor: float
    idle: float
    entanglement: float
    entanglement_spread: float
    haar_entanglement: float
    pairs: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able content."""
        return asdict(self)


def measure_capability(spec: CircuitSpec, pairs: int = 1000, seed: int = 0) -> Capability:
    """Expressibility and entangling capability over uniformly drawn angles.

    Args:
        spec: The circuit; inputs and weights are both drawn, uniform in [-pi, pi].
        pairs: Number of pairs of states; the bias of the divergence is about (occupied bins) / (2 pairs).
        seed: Seed of the random angles.

    Raises:
        CircuitError: No pair, or the circuit cannot be simulated on this machine.
    """
    if pairs < 1:
        raise CircuitError(f"expressibility from {pairs} pairs of states: at least 1 is needed")
    require_feasible(spec, 2 * pairs)
    parameters = [*spec.inputs, *spec.weights]
    rng = plain_generator(seed)
    # In parts, so that memory does not grow with the number of pairs.
    step = max(1, 2**20 >> spec.num_qubits)
    fidelity, measure = [], []
    for first in range(0, pairs, step):
        count = min(step, pairs - first)
        states = simulate(spec.circuit, parameters, rng.uniform(-np.pi, np.pi, (2 * count, len(parameters))))
        fidelity.append(fidelities(states[:count], states[count:]))
        measure.append(meyer_wallach(states))
    q = np.concatenate(measure)
    dimension = 2**spec.num_qubits
    return Capability(
        expressibility=divergence_from_haar(np.concatenate(fidelity), spec.num_qubits),
        haar_floor=_haar_floor(spec.num_qubits, pairs, seed),
        idle=(dimension - 1) * float(np.log(BINS)),
        entanglement=float(q.mean()),
        entanglement_spread=float(q.std()),
        haar_entanglement=(dimension - 2) / (dimension + 1),
        pairs=pairs,
        seed=seed,
    )


def fidelities(first: States, second: States) -> NDArray[np.float64]:
    """|<a|b>|^2 row by row; (B, 2^n) twice -> (B,)."""
    return np.asarray(np.abs(np.einsum("bi,bi->b", first.conj(), second)) ** 2, dtype=np.float64)


def divergence_from_haar(fidelity: NDArray[np.float64], num_qubits: int, bins: int = BINS) -> float:
    """KL divergence (nats) of the histogram of fidelities from the Haar distribution's.

    Args:
        fidelity: Fidelities of B pairs of states, (B,), each in [0, 1].
        num_qubits: Number of qubits of the states.
        bins: Number of bins of equal width over [0, 1].
    """
    counts, _ = np.histogram(np.clip(fidelity, 0.0, 1.0), bins=bins, range=(0.0, 1.0))
    share = counts / counts.sum()
    log_haar = _log_haar_masses(num_qubits, bins)
    occupied = share > 0
    return float(np.sum(share[occupied] * (np.log(share[occupied]) - log_haar[occupied])))


def meyer_wallach(states: States) -> NDArray[np.float64]:
    """Meyer-Wallach Q of each state, (B, 2^n) -> (B,), 0 (product) to 1."""
    count, dimension = states.shape
    num_qubits = dimension.bit_length() - 1
    purity = np.zeros(count)
    for qubit in range(num_qubits):
        parts = states.reshape(count, -1, 2, 2**qubit)
        reduced = np.einsum("bhil,bhjl->bij", parts, parts.conj())
        purity += np.sum(np.abs(reduced) ** 2, axis=(1, 2))
    return np.asarray(np.clip(2 * (1 - purity / num_qubits), 0.0, 1.0))


def _log_haar_masses(num_qubits: int, bins: int) -> NDArray[np.float64]:
    """Logarithm of the Haar distribution's mass in each bin, (1 - a)^(N - 1) - (1 - b)^(N - 1)."""
    power = 2**num_qubits - 1
    edges = np.linspace(0.0, 1.0, bins + 1)
    # As logarithms: the masses themselves underflow from about 7 qubits on.
    lower = power * np.log1p(-edges[:-1])
    ratio = power * (np.log1p(-edges[1:-1]) - np.log1p(-edges[:-2]))
    lower[:-1] += np.log1p(-np.exp(ratio))
    return np.asarray(lower)


def _haar_floor(num_qubits: int, pairs: int, seed: int) -> float:
    rng = generator(seed, "states that are Haar-random")
    # Inverse of the distribution function 1 - (1 - F)^(N - 1).
    uniform = rng.random((_FLOOR_REPEATS, pairs))
    samples = -np.expm1(np.log1p(-uniform) / (2**num_qubits - 1))
    return float(np.mean([divergence_from_haar(row, num_qubits) for row in samples]))
