"""The Sampler's way to expectation values, and what correcting the readout gains."""

from typing import Any

import numpy as np
import pytest
from qiskit.quantum_info import SparsePauliOp

from hardware.errors import HardwareError, JobError
from hardware.inference.exact import ExactEvaluator
from hardware.placement.packing import pack
from hardware.placement.program import Program
from hardware.placement.transpilation import transpile
from hardware.primitives.execution import Expectations, _prepare, collect, expected_job, job_sender
from hardware.primitives.options import job_options
from hardware.primitives.readout import Readout
from hardware.service.backends import open_backend
from qhybrid.config import HardwareConfig
from qhybrid.quantum.circuits.ansatz import build_spec

SPEC = build_spec("ry_rz_ladder", 3, 1)
WEIGHTS = np.linspace(-1.0, 1.0, 6)


@pytest.fixture(scope="module")
def manila() -> Program:
    backend = open_backend("fake_manila")
    return transpile(SPEC, backend).local_program(SPEC, WEIGHTS, backend)


def run(program: Program, angles: np.ndarray, *, seed: int = 1, **given: Any) -> Expectations:
    config = HardwareConfig(primitive="sampler", **{"shots": 4096, **given})
    options = job_options(config, seed=seed)
    job = job_sender(program, angles, options)(program.backend)
    return collect(job, expected_job(program, angles, options), SPEC.num_outputs, len(angles))


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def test_readout_errors_are_taken_out(manila: Program, rng: np.random.Generator) -> None:
    angles = rng.uniform(-0.7, 0.7, (12, 3))
    exact = ExactEvaluator(SPEC, WEIGHTS).values(angles)
    corrected = run(manila, angles)
    raw = run(manila, angles, readout_mitigation=False)
    assert rms(corrected.values - exact) < 0.7 * rms(raw.values - exact)
    assert np.all(corrected.errors > raw.errors)


@pytest.mark.parametrize("given", [{"twirling": True}, {"dynamical_decoupling": "XY4"}])
def test_twirling_and_decoupling_keep_the_values(manila: Program, given: Any) -> None:
    angles = np.array([[0.2, -0.4, 1.0], [2.5, 0.1, -1.3]])
    options = job_options(HardwareConfig(primitive="sampler", shots=4096, **given))
    plain = job_options(HardwareConfig(primitive="sampler", shots=4096))
    assert (
        expected_job(manila, angles, options).executions >= expected_job(manila, angles, plain).executions == 4 * 4096
    )
    circuits = [_prepare(manila, angles, chosen).items[0].circuit for chosen in (options, plain)]
    assert circuits[0].count_ops() != circuits[1].count_ops()
    np.testing.assert_allclose(
        run(manila, angles, **given).values, ExactEvaluator(SPEC, WEIGHTS).values(angles), atol=0.12
    )


def test_copies_through_the_sampler() -> None:
    backend = open_backend("fake_torino")
    program = pack(transpile(SPEC, backend), SPEC, backend, images=4, copies=2, floor=0.5, spacing=1)
    angles = np.array([[0.2, -0.4, 1.0], [2.5, 0.1, -1.3], [1.0, 1.0, 1.0], [-2.0, 0.3, 0.5]])
    exact = ExactEvaluator(SPEC, WEIGHTS).values(angles)
    result = run(program.local_program(SPEC, WEIGHTS, backend), angles)
    np.testing.assert_allclose(result.values, exact, atol=0.12)
    whole = expected_job(
        program.program(SPEC, WEIGHTS, backend), angles, job_options(HardwareConfig(primitive="sampler"))
    )
    assert (whole.executions, whole.copies) == ((2 + 2) * 1024, 2)


def test_the_inverse_is_that_of_each_qubits_confusion(rng: np.random.Generator) -> None:
    """Bits of known values, misread with known probabilities that differ for 0 and 1."""
    observables = [SparsePauliOp("IIZ"), SparsePauliOp("ZIZ"), SparsePauliOp(["ZII", "III"], [0.5, 0.25])]
    readout = Readout.of(observables)
    assert readout.qubits == (0, 2)
    probability = np.array([[0.3, 0.8], [0.6, 0.1]])  # rows x qubits: of a 1
    shots = 200_000
    true = rng.random((2, shots, 2)) < probability[:, None]
    calibrated = np.stack([np.zeros((shots, 2), bool), np.ones((shots, 2), bool)])

    def read(bits: np.ndarray) -> np.ndarray:
        wrong = np.where(bits, [0.12, 0.05], [0.02, 0.08])
        return bits ^ (rng.random(bits.shape) < wrong)

    z = 1 - 2 * probability
    expected = np.stack([z[:, 0], z[:, 0] * z[:, 1], 0.5 * z[:, 1] + 0.25], axis=1)
    values, errors = readout.estimate(read(true), read(calibrated))
    np.testing.assert_array_less(np.abs(values - expected), 4.5 * errors)
    uncorrected, _ = readout.estimate(read(true), None)
    assert np.abs(uncorrected - expected).max() > 20 * errors.max()
    with pytest.raises(JobError, match=r"qubits \[0, 2\] are read alike"):
        readout.estimate(true, np.zeros((2, 10, 2), bool))


def test_the_stated_errors_hold_for_the_calibration_as_well(rng: np.random.Generator) -> None:
    """A calibration of few shots moves all rows together; the stated error covers it."""
    readout = Readout.of([SparsePauliOp("Z"), SparsePauliOp("I")])

    def flipped(bits: np.ndarray) -> np.ndarray:
        return bits ^ (rng.random(bits.shape) < 0.1)

    z = []
    for _ in range(300):
        calibrated = np.stack([np.zeros((100, 1), bool), np.ones((100, 1), bool)])
        values, errors = readout.estimate(flipped(np.zeros((1, 2000, 1), bool)), flipped(calibrated))
        z.append((values[0, 0] - 1.0) / errors[0, 0])
        assert values[0, 1] == 1.0
    assert np.std(z) == pytest.approx(1.0, abs=0.15)


def test_observables_that_are_not_diagonal_are_refused() -> None:
    with pytest.raises(HardwareError, match="primitive: estimator"):
        Readout.of([SparsePauliOp("IXZ")])
