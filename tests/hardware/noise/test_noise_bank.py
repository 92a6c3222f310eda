"""Banks of noise drawn from local copies of devices: what they hold, what they cost, how they go on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hardware_runs import Command

import hardware
from hardware.errors import HardwareError, JobError, ResultError
from hardware.jobs import runner
from hardware.noise import bank as noise_bank
from hardware.noise import yields as noise_yield
from hardware.noise.circuits import NoiseCircuit, fluctuation, good_qubits, readout_errors, repetitions, superposition
from hardware.noise.draw import plan_noise, work_folder
from hardware.noise.results import GatheredBits, GatheredFluctuations
from hardware.noise.yields import JobSize, job_options, split
from hardware.primitives.execution import collect_bits, expected_job, job_sender
from hardware.service.backends import open_backend
from qhybrid.config import NoiseBankConfig, NoiseConfig
from qhybrid.diffusion.bank import Bank, read_record
from qhybrid.diffusion.bank_source import open_bank
from qhybrid.diffusion.certify import certify_integers
from qhybrid.diffusion.errors import NoiseError
from qhybrid.files import read_json, read_jsonl

# 100,000 bits, the fewest that are certified, of all five qubits.
SMALL = NoiseBankConfig(backend="fake_manila", normals=6_250, extractor="toeplitz", max_readout_error=0.2)
FLUCTUATION = NoiseBankConfig(
    backend="fake_manila",
    source="quantum_intrinsic",
    normals=8_000,
    qubits=2,
    shots=16,
    places=2,
    spacing=0,
    floor=0.01,
    max_readout_error=0.2,
    image_size=8,
)


def raw_bits(folder: Path) -> np.ndarray:
    """`(shots, qubits)` of all jobs in order."""
    parts = []
    for path in sorted((folder / "results").glob("*.npz")):
        with np.load(path) as file:
            parts.append(np.unpackbits(file["bits"], axis=1, count=int(file["qubits"])))
    return np.concatenate(parts)


def submitted(folder: Path) -> list[str]:
    return [row["content"] for row in read_jsonl(folder / "jobs.jsonl") if row["event"] == "submitted"]


def test_a_bank_is_certified_and_says_where_it_comes_from(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "bank.npz"
    options = ["--extractor", "toeplitz", "--max-readout-error", "0.2"]
    code, text, err = command("noise", "--backend", "fake_manila", "--normals", 6250, "--out", out, *options)
    assert code == 0, err
    assert "simulating 5 unconnected qubits of fake_manila one by one, with the errors" in text
    assert "5 of 5: 0 1 2 3 4" in text
    assert "keeps its claim" in text
    record = read_record(out)
    plan = read_json(work_folder(out) / "plan.json")
    raw = raw_bits(work_folder(out))
    assert (record.source, record.shape, record.name) == ("quantum_bits", (6250,), "bank-fake_manila")
    assert record.certificate is not None
    assert record.certificate["failed"] == []
    assert plan["executions"] == plan["jobs"] * plan["shots"] * plan["repeats"] == len(raw)
    provenance = record.provenance
    assert provenance["executions"] == len(raw)
    assert provenance["job_ids"] == [row["job"] for row in read_jsonl(work_folder(out) / "jobs.jsonl")][:1]
    assert (provenance["backend"], provenance["qubits"], provenance["local"]) == ("fake_manila", [0, 1, 2, 3, 4], True)
    assert provenance["calibration"].startswith("20")
    assert "OPENQASM" in provenance["circuit"]
    assert np.allclose(provenance["raw_bias"], raw.mean(axis=0) - 0.5)
    # Blocks of 2,048 bits lose 64 to the hash and the rest to the bound on the min-entropy.
    assert 0.8 < provenance["extractor_yield"] < provenance["raw_min_entropy_per_bit"] <= 1
    assert NoiseCircuit.load(work_folder(out) / "circuit.qpy").qubits == (0, 1, 2, 3, 4)


def test_readout_errors_of_0_and_1_are_the_calibrations_own(tmp_path: Path) -> None:
    """Qiskit's local copies read both alike, and would show no bias at all."""
    plan = plan_noise(tmp_path / "bank.npz", SMALL).plan
    hardware.draw_noise(tmp_path / "bank.npz", SMALL)
    bias = raw_bits(tmp_path / "bank.hardware").mean(axis=0) - 0.5
    errors = readout_errors(open_backend("fake_manila"), plan.qubits)
    expected = (errors[:, 0] - errors[:, 1]) / 2
    spread = 0.5 / np.sqrt(plan.executions)
    assert np.abs(expected).max() > 5 * spread
    assert np.abs(bias - expected).max() < 5 * spread


def test_von_neumann_mends_a_biased_qubit_and_none_does_not(rng: np.random.Generator) -> None:
    raw = (rng.random((40_000, 12)) < np.linspace(0.4, 0.6, 12)).astype(np.uint8)
    failed = {}
    for extractor in ("von_neumann", "none"):
        gathered = GatheredBits(SMALL.model_copy(update={"extractor": extractor}))
        # Two jobs, as one that is drawn in parts.
        gathered.add(raw[:20_000])
        gathered.add(raw[20_000:])
        failed[extractor] = certify_integers(np.concatenate(list(gathered.pieces())), 16, "quantum_bits").failed
    assert failed["von_neumann"] == ()
    assert failed["none"]


def test_correlated_shots_are_told_in_the_record(rng: np.random.Generator) -> None:
    raw = rng.integers(0, 2, (20_000, 3), dtype=np.uint8)
    stays = rng.random(20_000) < 0.3
    for shot in range(1, len(raw)):
        raw[shot, 1] = raw[shot - 1, 1] if stays[shot] else raw[shot, 1]
    gathered = GatheredBits(SMALL)
    gathered.add(raw)
    found = gathered.provenance()["raw_serial_correlation"]
    assert found[1] == pytest.approx(0.3, abs=0.03)
    assert np.abs([found[0], found[2]]).max() < 0.03


def test_a_bank_that_fails_is_written_and_refused(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "raw.npz"
    options = ["--extractor", "none", "--max-readout-error", "0.2"]
    code, text, _ = command("noise", "--backend", "fake_manila", "--normals", 30_000, "--out", out, *options)
    assert code == 0
    (warning,) = [line for line in text.splitlines() if line.startswith("WARNING")]
    assert "FAILS ITS CERTIFICATE (bias" in warning
    with pytest.raises(NoiseError, match="fails its claim"):
        open_bank(NoiseConfig(source="quantum_bits", bank=str(out)))


def test_fluctuations_keep_the_correlations_of_their_places(tmp_path: Path) -> None:
    certificate = hardware.draw_noise(tmp_path / "bank.npz", FLUCTUATION)
    assert certificate.failed == ()
    bank = Bank(tmp_path / "bank.npz")
    assert (bank.record.shape, bank.patch) == ((2000, 4), (2, 2))
    values = bank.normals(0, 8000).reshape(2000, 4)
    assert np.allclose(values.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(values.std(axis=0), 1, atol=1e-5)
    # Each place fills a tile of 1 x 2 pixels: correlated within, not with the other place.
    covariance = np.array(bank.record.law["covariance"])
    assert np.allclose(covariance, np.cov(values, rowvar=False), atol=2e-3)
    assert min(abs(covariance[0, 1]), abs(covariance[2, 3])) > 0.1
    assert np.abs(covariance[:2, 2:]).max() < 0.1
    assert np.abs(np.array(bank.record.provenance["deviation_to_shot_noise"]) - 1).max() < 0.1


def test_tiles_lie_side_by_side_in_the_patch(rng: np.random.Generator) -> None:
    """Four places of 2 x 2 pixels in a patch of 4 x 4: the second place is the upper right corner."""
    config = NoiseBankConfig(source="quantum_intrinsic", shots=10, normals=16 * 200)
    gathered = GatheredFluctuations(config, (4, 4))
    ones = np.full(16, 0.5)
    ones[4:8] = 0.1
    gathered.add((rng.random((2000, 16)) < ones).astype(np.uint8))
    corner = np.zeros((4, 4), bool)
    corner[:2, 2:] = True
    np.testing.assert_array_equal(np.array(gathered.law()["mean"]).reshape(4, 4) > 0.4, corner)


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


@pytest.mark.parametrize(("module", "place"), [(runner, "job_sender"), (noise_bank, "collect_bits")])
def test_a_draw_that_was_killed_goes_on_to_the_same_bank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, place: str
) -> None:
    monkeypatch.setattr(noise_yield, "EXECUTIONS_PER_JOB", 8_000)
    hardware.draw_noise(tmp_path / "whole.npz", SMALL)
    genuine, calls = getattr(module, place), iter(range(100))

    def die(*args: Any) -> Any:
        if next(calls) == 1:
            raise Killed
        return genuine(*args)

    killed = tmp_path / "killed.npz"
    with monkeypatch.context() as patch:
        patch.setattr(module, place, die)
        with pytest.raises(Killed):
            hardware.draw_noise(killed, SMALL)
    assert not killed.exists()
    with pytest.raises(HardwareError, match="unfinished draw: add --resume"):
        hardware.draw_noise(killed, SMALL)
    with pytest.raises(HardwareError, match="other options"):
        hardware.draw_noise(killed, SMALL.model_copy(update={"normals": 7_000}), resume=True)
    hardware.draw_noise(killed, SMALL, resume=True)
    assert read_record(killed).checksum == read_record(tmp_path / "whole.npz").checksum
    first, *others = submitted(work_folder(killed))
    assert first not in others
    # Complete, or written but for its record: nothing is sent again.
    before = submitted(work_folder(killed))
    hardware.draw_noise(killed, SMALL, resume=True)
    killed.with_suffix(".json").unlink()
    assert hardware.draw_noise(killed, SMALL, resume=True).failed == ()
    assert submitted(work_folder(killed)) == before


def test_a_poorer_yield_than_calibrated_takes_further_jobs_within_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise_yield, "readout_errors", lambda backend, qubits: np.zeros((len(qubits), 2)))
    lines: list[str] = []
    monkeypatch.setattr(noise_yield, "_ENTROPY_SIGMAS", -20.0)
    plan = plan_noise(tmp_path / "bank.npz", SMALL).plan
    limited = SMALL.model_copy(update={"budget_seconds": plan.seconds + 1.0})
    with pytest.raises(hardware.errors.BudgetError, match=r"s are left and job 2 takes .* --resume"):
        hardware.draw_noise(tmp_path / "bank.npz", limited, echo=lines.append)
    assert not (tmp_path / "bank.npz").exists()
    # The budget holds until another one is named.
    raised = SMALL.model_copy(update={"budget_seconds": 100.0})
    hardware.draw_noise(tmp_path / "bank.npz", raised, resume=True, echo=lines.append)
    assert any("normals are missing" in line for line in lines)
    assert read_record(tmp_path / "bank.npz").shape == (6_250,)
    assert len(submitted(tmp_path / "bank.hardware")) >= 2


def test_jobs_with_the_bits_of_another_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_yield, "EXECUTIONS_PER_JOB", 8_000)
    always = np.random.default_rng(0).integers(0, 2, (8_000, 5), dtype=np.uint8)
    monkeypatch.setattr(noise_bank, "collect_bits", lambda job, expected: always)
    with pytest.raises(JobError, match="job 2 on `fake_manila` has the bits of an earlier one"):
        hardware.draw_noise(tmp_path / "bank.npz", SMALL)
    assert not (tmp_path / "bank.npz").exists()


def test_circuits_of_a_job_with_equal_bits_do_not_count() -> None:
    """The local simulator gives each circuit of a job the same seed."""
    backend = open_backend("aer")
    circuit = superposition(backend, SMALL)
    program, size = circuit.program(backend), JobSize(shots=100, repeats=2)
    options = job_options(size)
    options.simulator.seed_simulator = 1
    angles = repetitions(program, 2)
    expected = expected_job(program, angles, options)
    assert expected.executions == 200
    with pytest.raises(ResultError, match="the same bits"):
        collect_bits(job_sender(program, angles, options)(backend), expected)


def test_an_ideal_simulator_gives_even_bits(tmp_path: Path) -> None:
    config = NoiseBankConfig(backend="aer", normals=6_250, extractor="none", qubits=8)
    certificate = hardware.draw_noise(tmp_path / "bank.npz", config)
    assert certificate.failed == ()
    record = read_record(tmp_path / "bank.npz")
    assert record.provenance["calibration"] is None
    assert record.provenance["executions"] == 12_500


def test_good_qubits_are_those_within_the_limits() -> None:
    backend = open_backend("fake_torino")
    good = good_qubits(backend, NoiseBankConfig())
    measured = [backend.target["measure"][(qubit,)].error for qubit in good]
    assert len(good) == 99
    assert max(measured) <= 0.05
    strict = NoiseBankConfig(max_readout_error=0.01, max_gate_error=2e-4)
    assert 0 < len(good_qubits(backend, strict)) < len(good)
    assert set(good_qubits(backend, strict)) < set(good)
    with pytest.raises(HardwareError, match=r"no qubit within max_readout_error 0\.0001"):
        good_qubits(backend, NoiseBankConfig(max_readout_error=1e-4))
    best = superposition(backend, NoiseBankConfig(qubits=10)).qubits
    errors = readout_errors(backend, good).sum(axis=1)
    assert set(best) == {good[index] for index in np.argsort(errors)[:10]}


def test_places_of_fluctuations_are_good_and_apart() -> None:
    backend = open_backend("fake_torino")
    config = NoiseBankConfig(source="quantum_intrinsic", floor=0.85, spacing=1)
    groups = fluctuation(backend, config, 100).groups
    assert len(groups) >= 4
    coupled = {tuple(edge) for edge in backend.coupling_map.get_edges()}
    good = set(good_qubits(backend, config))
    for number, group in enumerate(groups):
        assert set(group) <= good
        others = {qubit for other in groups[number + 1 :] for qubit in other}
        assert not any((a, b) in coupled or (b, a) in coupled for a in group for b in others)


@pytest.mark.parametrize(("executions", "multiple"), [(1, 2), (99_999, 2), (1_200_001, 64), (4_096, 1000)])
def test_jobs_execute_what_is_wanted_in_whole_pairs_and_evaluations(
    executions: int, multiple: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_backend("fake_manila")
    backend.max_shots = 20_000
    size, jobs = split(executions, backend, multiple=multiple)
    assert size.repeats == 1
    monkeypatch.setattr(noise_yield, "is_local", lambda backend: False)
    size, jobs = split(executions, backend, multiple=multiple)
    assert size.shots <= 20_000
    assert size.executions <= noise_yield.EXECUTIONS_PER_JOB + size.repeats * multiple
    assert executions <= jobs * size.executions <= max(executions, 4096) + jobs * size.repeats * multiple
    assert size.shots % multiple == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--backend": "fake_nowhere"}, "unknown backend `fake_nowhere`"),
        ({"--backend": "ibm_nowhere"}, "no IBM Quantum account is saved"),
        ({"--normals": 0}, "`normals` is 0"),
        ({"--normals": 6_000}, "ask for at least 6,250"),
        ({"--budget-seconds": 0.5}, "budget_seconds 0.5 is too small: drawing 6,250 normals"),
        ({"--budget-seconds": "inf"}, "--budget-seconds inf: give a finite number"),
        ({"--budget-seconds": "nan"}, "--budget-seconds nan: give a finite number"),
        ({"--wait-seconds": "nan"}, "--wait-seconds nan: give a finite number"),
        ({"--max-readout-error": 1e-6}, "no qubit within max_readout_error 1e-06"),
        ({"--extractor": "hope"}, "`extractor` is 'hope'"),
        ({"--source": "quantum_intrinsic", "--normals": 7_000}, "ask for at least 8,000"),
        ({"--source": "quantum_intrinsic", "--places": 4, "--normals": 40_000}, "1 good ones"),
        ({"--out": "bank.txt"}, "call it"),
        ({"--out": "file/bank.npz"}, "cannot write"),
        ({"--out": "there.npz"}, "exists, and noise of a device is not made again"),
        ({"--out": None}, "--out missing"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command, change: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("file").touch()
    Path("there.npz").touch()
    options: dict[str, Any] = {
        "--backend": "fake_manila", "--normals": 6_250, "--out": "bank.npz", "--max-readout-error": 0.2
    }  # fmt: skip
    given = [str(item) for pair in {**options, **change}.items() if pair[1] is not None for item in pair]
    code, _, err = command("noise", *given)
    assert (code, err.count("\n")) == (2, 1), err
    assert message in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "there.npz"]
