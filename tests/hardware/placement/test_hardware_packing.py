"""Copies side by side: the same numbers in fewer executions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hardware_runs import MakeRun
from qiskit.transpiler import InstructionProperties, QubitProperties

import hardware
from hardware.errors import HardwareError
from hardware.inference.exact import ExactEvaluator
from hardware.placement.packing import pack
from hardware.placement.transpilation import Transpiled, transpile
from hardware.planning.bill import make_plan
from hardware.primitives.execution import collect, estimator_options, expected_job, job_sender
from hardware.service.backends import open_backend
from qhybrid.config import HardwareConfig
from qhybrid.quantum.circuits.ansatz import benchmark_spec, build_spec
from qhybrid.quantum.circuits.fingerprint import circuit_fingerprint
from qhybrid.quantum.devices.embedding import best_embedding
from qhybrid.quantum.devices.snapshots import crop

SPEC = benchmark_spec(4)
WEIGHTS = np.linspace(-1.0, 1.0, len(SPEC.weights))


@pytest.fixture(scope="module")
def torino() -> Any:
    return open_backend("fake_torino")


@pytest.fixture(scope="module")
def alone(torino: Any) -> Transpiled:
    return transpile(SPEC, torino)


def packed(alone: Transpiled, backend: Any, **given: Any) -> Transpiled:
    return pack(alone, SPEC, backend, **{"images": 16, "copies": "auto", "floor": 0.85, "spacing": 1, **given})


def without_errors(backend: Any) -> Any:
    target = backend.target
    for name in target.operation_names:
        for where in target[name] or ():
            if where is not None and name not in ("delay", "reset"):
                target.update_instruction_properties(name, where, InstructionProperties(duration=1e-9, error=0.0))
    target.qubit_properties = [QubitProperties(t1=10.0, t2=10.0)] * backend.num_qubits
    return backend


def test_sixteen_images_take_two_repetitions_on_torino(alone: Transpiled, torino: Any) -> None:
    config = HardwareConfig(images=16, shots=1024, qpu_steps="all")
    costs = {}
    for name, transpiled in (("packed", packed(alone, torino)), ("unpacked", alone)):
        program = transpiled.program(SPEC, WEIGHTS, torino)
        made = make_plan(program, config, sensitivity=list, identity="x")
        costs[name] = made.executions / made.steps
        assert made.pack == program.copies
    assert costs == {"packed": 2048, "unpacked": 16384}


@pytest.mark.parametrize("spacing", [0, 1, 2])
def test_copies_keep_their_distance_and_the_floor(alone: Transpiled, torino: Any, spacing: int) -> None:
    import rustworkx

    found = packed(alone, torino, images=40, spacing=spacing, floor=0.9)
    distance = rustworkx.distance_matrix(torino.coupling_map.graph.to_undirected(multigraph=False))
    for index, first in enumerate(found.layouts):
        for second in found.layouts[index + 1 :]:
            assert distance[np.ix_(first, second)].min() > spacing
    lines = found.report["patches"]
    assert len(lines) == len(found.layouts) > 4
    successes = [line["estimated_success"] for line in lines]
    assert min(successes) >= 0.9 * successes[0]
    assert successes[1:] == sorted(successes[1:], reverse=True)


def test_auto_takes_no_more_copies_than_shorten_the_run(alone: Transpiled, torino: Any) -> None:
    assert [len(packed(alone, torino, images=images).layouts) for images in (1, 3, 16, 17)] == [1, 3, 8, 9]
    assert len(packed(alone, torino, floor=1.0).layouts) == 1
    assert len(packed(alone, torino, copies=3).layouts) == 3
    with pytest.raises(HardwareError, match=r"pack 40: `fake_torino` has room for \d+ copies"):
        packed(alone, torino, images=64, copies=40)


def test_packed_equals_unpacked_on_an_ideal_device(torino: Any, rng: np.random.Generator) -> None:
    """One circuit of three copies on a device without errors, run as a whole, against exact values."""
    spec = build_spec("ry_rz_ladder", 3, 1)
    ideal = without_errors(crop(torino, best_embedding(benchmark_spec(9).circuit, torino)))
    weights = rng.uniform(-2, 2, 6)
    program = pack(transpile(spec, ideal), spec, ideal, images=7, copies=3, floor=0.5, spacing=0).program(
        spec, weights, ideal
    )
    assert (program.copies, program.num_inputs, program.num_outputs) == (3, 3, 3)
    angles = rng.uniform(-3, 3, (7, 3))
    options = estimator_options(0, 4096, seed=5)
    expected = expected_job(program, angles, options)
    assert expected.executions == 3 * 4096
    result = collect(job_sender(program, angles, options)(ideal), expected, 3, 7)
    z = (result.values - ExactEvaluator(spec, weights).values(angles)) / np.maximum(result.errors, 1 / 4096)
    assert np.sqrt(np.mean(z**2)) == pytest.approx(1.0, abs=0.45)
    assert np.abs(z).max() < 4.5


def test_copies_are_simulated_one_by_one_with_their_own_noise(alone: Transpiled, torino: Any) -> None:
    program = packed(alone, torino, copies=3).local_program(SPEC, WEIGHTS, torino)
    assert [part.backend.num_qubits for part in program.parts] == [4, 4, 4]
    angles = np.tile([[0.3, 1.0, -1.0, 0.2]], (5, 1))
    options = estimator_options(0, 256, seed=3)
    expected = expected_job(program, angles, options)
    result = collect(job_sender(program, angles, options)(torino), expected, 4, 5)
    assert result.values.shape == (5, 4)
    # No two of the five share their shots, whether on one copy or on two.
    assert len({tuple(row) for row in result.values}) == 5
    np.testing.assert_allclose(result.values, ExactEvaluator(SPEC, WEIGHTS).values(angles), atol=0.35)


def test_packed_inference_compares_each_copy(make_run: MakeRun) -> None:
    run = make_run(qubits=4, layers=3)
    config = HardwareConfig(images=6, steps=3, qpu_steps=[0, 2], shots=8192, pack=3)
    comparison = hardware.infer(run, config)
    assert [row["patch"] for row in comparison["by_patch"]] == [0, 1, 2]
    assert [row["n"] for row in comparison["by_patch"]] == [2 * 2 * 4] * 3
    # The noise of each copy's own place explains its values; another copy's would not.
    assert comparison["device_against_noisy"]["z"]["rms"] == pytest.approx(1.0, abs=0.3)
    assert comparison["device_against_exact"]["z"]["rms"] > comparison["device_against_noisy"]["z"]["rms"] + 0.2
    plan = hardware.plan(run, config)
    assert (plan.pack, len(plan.patches), plan.executions) == (3, 3, 2 * 2 * 8192)
    assert all(len(line["readout_errors"]) == 4 for line in plan.patches)


def test_a_packed_circuit_is_read_back_as_it_was(alone: Transpiled, torino: Any, tmp_path: Path) -> None:
    found = packed(alone, torino, copies=3)
    found.save(tmp_path)
    again = Transpiled.load(tmp_path)
    assert (again.layouts, again.report) == (found.layouts, found.report)
    assert circuit_fingerprint(again.program(SPEC, WEIGHTS, torino).circuit) == circuit_fingerprint(
        found.program(SPEC, WEIGHTS, torino).circuit
    )


def test_copies_fit_side_by_side_on_a_simulator() -> None:
    simulator = open_backend("aer")
    spec = build_spec("ry_rz_ladder", 3, 1)
    found = pack(transpile(spec, simulator), spec, simulator, images=4, copies=2, floor=0.5, spacing=1)
    assert found.layouts == ((0, 1, 2), (3, 4, 5))
    assert found.program(spec, np.zeros(6), simulator).circuit.num_qubits == 6
    with pytest.raises(HardwareError, match="pack 64"):
        pack(transpile(spec, simulator), spec, simulator, images=64, copies=64, floor=0.5, spacing=1)
