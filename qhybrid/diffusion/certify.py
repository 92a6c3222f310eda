"""Does a noise source keep what it claims? Statistical checks, each with its value and what is allowed.

A stream of k-bit normal numbers claims independence, the law of `BitLaw`, and nearly one bit of min-entropy per bit.
Fluctuations of expectation values claim mean 0 and variance 1 per pixel, the (scaled) binomial law of their shots,
independence of successive evaluations, and the stored covariance between the pixels of a patch; they do not claim to be
Gaussian nor uncorrelated within a patch. Every check refuses a source that keeps its claim with probability 1e-4.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qhybrid.diffusion import randomness
from qhybrid.diffusion.bank import Bank, checksum
from qhybrid.diffusion.bits import CONFIDENCE, BitLaw, markov_entropy, most_common_value_entropy
from qhybrid.diffusion.errors import NoiseError
from qhybrid.diffusion.randomness import Numbers, autocorrelation
from qhybrid.diffusion.simulate import SimulatedBits, SimulatedFluctuations
from qhybrid.seeds import Stream

# Checks look at no more numbers than this, in runs spread evenly over the bank.
_LIMIT = 1 << 22
_RUNS = 64
_ALPHA = 1e-4
LEAST_BITS = 100_000
LEAST_EVALUATIONS = 2_000
# Of good bits; fewer than some 300,000 cannot show as much, and are held to what they can.
_LEAST_ENTROPY = 0.98
_LIVE_NUMBERS = 1 << 14
_LIVE_EVALUATIONS = 1 << 12
_LIVE_NAME = Stream("certificate")


@dataclass(frozen=True)
class Check:
    """One test: its value passes if it lies between the bounds, which count as inside.

    Attributes:
        name: Name of the test, as the certificate shows it.
        value: Measured value; test statistics are in standard errors.
        low: Smallest value that passes; `None` for no bound.
        high: Largest value that passes; `None` for no bound.
    """

    name: str
    value: float
    low: float | None
    high: float | None

    @property
    def passed(self) -> bool:
        """Whether the value lies within its bounds."""
        return (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)


@dataclass(frozen=True)
class Certificate:
    """What was tested and what came out.

    Attributes:
        source: Kind of the noise source.
        numbers: Number of values that were looked at.
        checks: Tests of the claims, each with its bounds.
        measured: Moments, correlations and whatever else a reader wants to know.
    """

    source: str
    numbers: int
    checks: tuple[Check, ...]
    measured: dict[str, Any]

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that did not pass."""
        return tuple(check.name for check in self.checks if not check.passed)

    def to_dict(self) -> dict[str, Any]:
        """The certificate as JSON-able values, which a bank's record keeps."""
        return {
            "source": self.source,
            "numbers": self.numbers,
            "significance": _ALPHA,
            "failed": list(self.failed),
            "checks": [asdict(check) | {"passed": check.passed} for check in self.checks],
            "measured": self.measured,
        }


def certify_bank(bank: Bank) -> Certificate:
    """Test a bank, its checksum first.

    Raises:
        NoiseError: The numbers are not those that were written, or too few to tell anything.
    """
    if checksum(bank) != bank.record.checksum:
        raise NoiseError(f"bank `{bank.path}` was altered: its numbers do not have the recorded checksum")
    law = bank.record.law
    stored = _spread(bank)
    if bank.record.source == "quantum_intrinsic":
        values = stored.reshape(-1, bank.record.unit)
        return certify_fluctuations(
            values, int(law["shots"]), np.array(law["mean"]), np.array(law["deviation"]), np.array(law["covariance"])
        )
    return certify_integers(stored, int(law["resolution"]), bank.record.source)


def certify_simulated(source: SimulatedBits | SimulatedFluctuations) -> Certificate:
    """Test numbers of a simulated source that no run ever draws."""
    if isinstance(source, SimulatedBits):
        return certify_integers(source.integers(_LIVE_NAME, _LIVE_NUMBERS), source.law.resolution, "quantum_bits")
    values = source.evaluations(_LIVE_NAME, _LIVE_EVALUATIONS)
    return certify_fluctuations(values, source.shots, source.mean, source.deviation, None)


def certify_integers(integers: NDArray[np.uint16], resolution: int, source: str) -> Certificate:
    """Test a stream of k-bit integers, as bits and as normal numbers.

    Args:
        integers: Values from 0 to 2^k - 1, uint16 `(N,)`.
        resolution: Bits k of each.
        source: Name of the source, for the certificate.

    Raises:
        NoiseError: Fewer than 100,000 bits.
    """
    if integers.size * resolution < LEAST_BITS:
        raise NoiseError(
            f"{integers.size * resolution:,} bits are too few for a certificate: at least {LEAST_BITS:,} are needed"
        )
    law = BitLaw(resolution)
    bits = law.bits(integers)
    values = law.normals(integers).astype(np.float64)
    n = values.size
    moments = randomness.moments(values)
    lagged, bit_lagged = autocorrelation(values), autocorrelation(bits.astype(np.float64))
    neighbours = randomness.neighbours(values)
    distance = randomness.uniform_distance(integers, resolution)
    entropy = {"most_common_value": most_common_value_entropy(bits), "markov": markov_entropy(bits)}
    checks = (
        _score("bias", (2 * float(bits.mean()) - 1) * math.sqrt(bits.size)),
        _score("mean", moments["mean"] * math.sqrt(n)),
        _score("variance", (moments["variance"] - 1) * math.sqrt(n / (law.kurtosis - 1))),
        _score("skewness", moments["skewness"] * math.sqrt(n / 6)),
        _score("kurtosis", (moments["kurtosis"] - law.kurtosis) * math.sqrt(n / 24)),
        _kolmogorov_smirnov(distance, n),
        _largest("autocorrelation", lagged * math.sqrt(n)),
        _largest("bit_autocorrelation", bit_lagged * math.sqrt(bits.size)),
        _largest("spatial_correlation", np.array(list(neighbours.values())) * math.sqrt(n)),
        _score("runs", randomness.runs(bits.astype(bool))),
        _entropy("most_common_value", entropy, CONFIDENCE + _limit(1), bits.size),
        # The likeliest of six sequences; each row of the chain's transitions is counted over half of the bits.
        _entropy("markov", entropy, _limit(6), bits.size // 2),
    )
    measured = {
        "bits": int(bits.size),
        "moments": moments,
        "law": {"largest": law.largest, "missing_mass": law.missing_mass, "kurtosis": law.kurtosis},
        "kolmogorov_smirnov": distance,
        "autocorrelation": lagged.tolist(),
        "bit_autocorrelation": bit_lagged.tolist(),
        "spatial_correlation": neighbours,
        "min_entropy_per_bit": entropy,
    }
    return Certificate(source, n, checks, measured)


def certify_fluctuations(
    values: NDArray[np.float32], shots: int, mean: Numbers, deviation: Numbers, covariance: Numbers | None
) -> Certificate:
    """Test standardized fluctuations `(E, n)` of n expectation values of `shots` shots each.

    Args:
        values: Standardized values `(E, n)`, one row per evaluation of the circuit.
        shots: Number of shots of each evaluation.
        mean: Expectation values that were subtracted, `(n,)`.
        deviation: Standard deviations that were divided by, `(n,)`.
        covariance: `(n, n)` as stored; `None` if there is none to compare with.

    Raises:
        NoiseError: Fewer than 2,000 evaluations.
    """
    if len(values) < LEAST_EVALUATIONS:
        raise NoiseError(f"{len(values):,} evaluations are too few for a certificate: at least {LEAST_EVALUATIONS:,}")
    columns = values.T.astype(np.float64)
    evaluations = columns.shape[1]
    moments = [randomness.moments(column) for column in columns]
    root = math.sqrt(evaluations)
    lagged = np.stack([autocorrelation(column) for column in columns])
    found = np.cov(columns, ddof=0)
    distances = [randomness.binomial_distance(*item, shots) for item in zip(columns, mean, deviation, strict=True)]
    checks = [
        _largest("mean", np.array([m["mean"] for m in moments]) * root),
        _largest("variance", np.array([(m["variance"] - 1) / math.sqrt(m["kurtosis"] - 1) for m in moments]) * root),
        _kolmogorov_smirnov(max(distances), evaluations, tests=len(columns)),
        _largest("autocorrelation", lagged * root),
        _largest("runs", np.array([randomness.runs(column > column.mean()) for column in columns])),
    ]
    if covariance is not None:
        # Fourth moments of nearly normal pairs: the variance of a covariance is at most about 2 / E.
        checks.append(_largest("covariance", (found - covariance) * root / math.sqrt(2)))
    signs = (columns > columns.mean(axis=1, keepdims=True)).astype(np.uint8)
    measured = {
        "moments": {key: [m[key] for m in moments] for key in moments[0]},
        "kolmogorov_smirnov": distances,
        "kolmogorov_smirnov_to_normal": [randomness.normal_distance(column) for column in columns],
        "autocorrelation": lagged.mean(axis=0).tolist(),
        "covariance": found.tolist(),
        "spatial_correlation": float(np.abs(np.corrcoef(columns) - np.eye(len(columns))).max()),
        "min_entropy_per_bit": {
            "most_common_value": min(map(most_common_value_entropy, signs)),
            "markov": min(map(markov_entropy, signs)),
        },
    }
    return Certificate("quantum_intrinsic", int(values.size), tuple(checks), measured)


def _spread(bank: Bank) -> NDArray[Any]:
    """The whole bank, or long runs of it in whole patches."""
    total, unit = bank.record.numbers, bank.record.unit
    if total <= _LIMIT:
        return bank.stored(0, total)
    length = _LIMIT // _RUNS // unit * unit
    starts = (np.linspace(0, total - length, _RUNS) // unit).astype(np.int64) * unit
    return np.concatenate([bank.stored(int(start), length) for start in starts])


def _kolmogorov_smirnov(distance: float, n: int, tests: int = 1) -> Check:
    from scipy.special import kolmogi

    # For a discrete law the test is conservative: it refuses less often than its significance says.
    return Check("kolmogorov_smirnov", distance, None, float(kolmogi(_ALPHA / tests)) / math.sqrt(n))


def _score(name: str, value: float) -> Check:
    limit = _limit(1)
    return Check(name, _finite(value), -limit, limit)


def _entropy(name: str, found: dict[str, float], deviations: float, n: int) -> Check:
    """An estimate that rests on a share of n bits, which even bits miss by so many standard deviations at most."""
    reached = -math.log2(0.5 + deviations / (2 * math.sqrt(n)))
    return Check(f"min_entropy_{name}", found[name], min(_LEAST_ENTROPY, reached), None)


def _largest(name: str, scores: Numbers) -> Check:
    """The score that is farthest from 0, with a limit that accounts for their number."""
    return Check(name, _finite(float(np.abs(scores).max())), None, _limit(scores.size))


def _limit(tests: int) -> float:
    from scipy.special import ndtri

    return float(-ndtri(_ALPHA / (2 * tests)))


def _finite(value: float) -> float:
    # JSON has no infinity.
    return value if math.isfinite(value) else math.copysign(1e9, value)
