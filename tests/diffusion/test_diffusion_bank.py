"""Banks: written, mapped, addressed, counted, certified, refused."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from qhybrid.config import NoiseConfig, SimulatedNoiseConfig
from qhybrid.diffusion.bank import Bank, BankRecord, read_record, write_bank
from qhybrid.diffusion.bits import BitLaw, von_neumann
from qhybrid.diffusion.certify import LEAST_BITS, certify_fluctuations, certify_integers
from qhybrid.diffusion.errors import NoiseError
from qhybrid.diffusion.making import certify, make_bank
from qhybrid.diffusion.sources import open_source
from qhybrid.diffusion.supply import Demand, check_supply, reserve
from qhybrid.seeds import Stream

SIMULATED = SimulatedNoiseConfig()


def integers_bank(path, integers, *, source="quantum_bits", resolution=16, name="planted"):
    record = BankRecord(name, source, integers.shape, {"resolution": resolution}, {"backend": "test"}, "")
    write_bank(path, record, [integers[:100], integers[100:]])
    return path


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    """A certified pseudo-random bank of 160,000 numbers."""
    path = tmp_path_factory.mktemp("banks") / "control.npz"
    assert make_bank(path, "gaussian", SIMULATED, 160_000).failed == ()
    return path


def copied(control, folder):
    path = folder / "bank.npz"
    for suffix in (".npz", ".json"):
        path.with_suffix(suffix).write_bytes(control.with_suffix(suffix).read_bytes())
    return path


def noise(path, **more):
    return NoiseConfig.model_validate({"source": "gaussian", "bank": str(path)} | more)


def test_a_bank_gives_back_what_was_written(tmp_path, rng):
    integers = rng.integers(0, 2**16, 5000, dtype=np.uint16)
    path = integers_bank(tmp_path / "bank.npz", integers)
    with np.load(path) as file:
        assert np.array_equal(file["integers"], integers)
    bank = Bank(path)
    assert np.array_equal(bank.stored(123, 456), integers[123:579])
    assert np.array_equal(bank.normals(10, 20), BitLaw(16).table[integers[10:30]])
    values = rng.standard_normal((300, 6)).astype(np.float32)
    law = {"shots": 64, "patch": [2, 3], "mean": [0.0] * 6, "deviation": [1.0] * 6, "covariance": np.eye(6).tolist()}
    record = BankRecord("x", "quantum_intrinsic", values.shape, law, {"backend": "test"}, "")
    write_bank(tmp_path / "values.npz", record, [values])
    assert np.array_equal(Bank(tmp_path / "values.npz").normals(6, 12), values[1:3].reshape(-1))


def test_a_bank_of_another_size_than_announced_is_not_written(tmp_path):
    record = BankRecord("x", "gaussian", (10,), {"resolution": 16}, {}, "")
    with pytest.raises(NoiseError, match="9 numbers given"):
        write_bank(tmp_path / "bank.npz", record, [np.zeros(9, np.uint16)])
    assert list(tmp_path.iterdir()) == []


def test_damaged_banks_are_named_in_one_line(tmp_path, control):
    path = copied(control, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(NoiseError, match=r"bank\.npz` is truncated"):
        Bank(path)
    path.write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
    with pytest.raises(NoiseError, match="was altered"):
        certify(path)
    path.write_bytes(content)
    record = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(record | {"shape": [7]}))
    with pytest.raises(NoiseError, match=r"shape \(160000,\), its record says uint16 of shape \(7,\)"):
        Bank(path)
    path.with_suffix(".json").write_text(json.dumps(record | {"law": {}}))
    with pytest.raises(NoiseError, match="not the record"):
        Bank(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(NoiseError, match="not the record"):
        Bank(path)
    np.savez_compressed(path, integers=np.zeros(160_000, np.uint16))
    path.with_suffix(".json").write_text(json.dumps(record))
    with pytest.raises(NoiseError, match="compressed"):
        Bank(path)
    with pytest.raises(NoiseError, match="no noise bank"):
        Bank(tmp_path / "nowhere.npz")


def test_names_share_no_numbers_until_the_bank_is_used_up(control):
    bank = noise(control)
    steps, images = 40, 30
    forward = open_source(bank, "forward", steps)
    latent = open_source(bank, "latent")
    reverse = open_source(bank, "reverse", 10)
    # Where numbers come from is told by drawing from a bank that counts upwards.
    drawn = []
    for source in (forward, latent, reverse):
        source._bank = _Counting(source._bank)
    for seed in (5, 6):
        drawn += [forward.draw(Stream("training", seed, step), (4, 1, 8, 8)) for step in range(steps)]
    for seed in range(100, 100 + images):
        drawn += [latent.draw(Stream("image", seed, 0), (1, 8, 8))]
        drawn += [reverse.draw(Stream("image", seed, step + 1), (1, 8, 8)) for step in range(10)]
    places = torch.cat([part.flatten() for part in drawn])
    assert len(places.unique()) == len(places)
    assert float(places.max()) < 160_000
    assert torch.equal(forward.draw(Stream("training", 6, 3), (4, 1, 8, 8)), drawn[steps + 3])


class _Counting:
    def __init__(self, bank):
        self.record, self.patch = bank.record, bank.patch

    def normals(self, start, count):
        return np.arange(start, start + count, dtype=np.float32)


def test_a_bank_is_drawn_evenly_within_the_reuse_budget(control):
    source = open_source(noise(control, latent=False, reverse=False, reuse=3), "forward", 1000)
    source._bank = _Counting(source._bank)
    slots = source.slots(1000)
    assert slots == 160
    first = [float(source.draw(Stream("training", 0, step), (1000,))[0]) for step in range(3 * slots)]
    assert set(np.unique(first, return_counts=True)[1]) == {3}


def test_an_exhausted_bank_is_refused_before_the_run(tmp_path, control):
    path = copied(control, tmp_path)
    whole = noise(path, latent=False, reverse=False)
    check_supply(whole, [Demand("forward", 160, (1000, 1, 1))], "a")
    with pytest.raises(NoiseError, match=r"exhausted after 160 of 161 draws .* `diffusion.noise.reuse: 2`"):
        check_supply(whole, [Demand("forward", 161, (1000, 1, 1))], "a")
    with pytest.raises(NoiseError, match="exhausted by a single draw: 200,000"):
        check_supply(whole, [Demand("forward", 1, (200_000, 1, 1))], "a")
    reserve(whole, [Demand("forward", 100, (1000, 1, 1))], "a")
    reserve(whole, [Demand("forward", 100, (1000, 1, 1))], "a")  # the same run again draws the same numbers
    assert read_record(path).drawn == {"a": 100_000}
    assert read_record(path).uses == pytest.approx(0.625)
    with pytest.raises(NoiseError, match=r"100,000 are drawn and this run needs 100,000.*reuse: 2"):
        reserve(whole, [Demand("forward", 100, (1000, 1, 1))], "b")
    reserve(noise(path, latent=False, reverse=False, reuse=2), [Demand("forward", 100, (1000, 1, 1))], "b")
    assert read_record(path).drawn == {"a": 100_000, "b": 100_000}


def test_foreign_uncertified_and_failing_banks_are_refused(tmp_path, control, rng):
    with pytest.raises(NoiseError, match=r"source of `gaussian`, the configuration asks for `quantum_bits`"):
        open_source(noise(control, source="quantum_bits"), "latent")
    with pytest.raises(NoiseError, match=r"comes from `PCG64`, `diffusion.noise.device` asks for `fake_torino`"):
        open_source(noise(control, device="fake_torino"), "latent")
    path = integers_bank(tmp_path / "bank.npz", (65535 * rng.random(20_000) ** 1.1).astype(np.uint16))
    planted = noise(path, source="quantum_bits")
    with pytest.raises(NoiseError, match="not certified"):
        open_source(planted, "latent")
    certify(path)
    with pytest.raises(NoiseError, match=r"`planted` fails its claim \(bias, mean.*accept: \[planted\]"):
        open_source(planted, "latent")
    accepted = open_source(noise(path, source="quantum_bits", accept=["planted"]), "latent")
    assert accepted.draw(Stream("image", 1, 0), (1, 8, 8)).shape == (1, 8, 8)


def integers_of(bits):
    return BitLaw(16).integers(bits)


def test_planted_faults_are_caught_and_named(rng):
    fair = rng.integers(0, 2, 2_000_000, dtype=np.uint8)
    assert certify_integers(integers_of(fair), 16, "quantum_bits").failed == ()
    raw = (rng.random((2_000_000, 4)) < 0.52).astype(np.uint8)
    failed = certify_integers(integers_of(raw.reshape(-1)), 16, "quantum_bits").failed
    assert {"bias", "mean", "kolmogorov_smirnov", "min_entropy_most_common_value"} <= set(failed)
    # Debiasing mends it.
    assert certify_integers(integers_of(von_neumann(raw)), 16, "quantum_bits").failed == ()
    # Correlated, but without bias: each bit repeats the one before it a little too often.
    stay = (rng.random(2_000_000) >= 0.53).astype(np.int64)
    failed = certify_integers(integers_of((np.cumsum(stay) % 2).astype(np.uint8)), 16, "quantum_bits").failed
    assert {"bit_autocorrelation", "runs", "min_entropy_markov"} <= set(failed)
    assert "bias" not in failed
    # A far echo that no neighbour shows: number i depends on number i - 28, the pixel above.
    numbers = rng.integers(0, 2**16, 125_000, dtype=np.uint16)
    numbers[28:] = np.where(rng.random(124_972) < 0.03, numbers[:-28], numbers[28:])
    failed = certify_integers(numbers, 16, "quantum_bits").failed
    assert {"autocorrelation", "spatial_correlation"} <= set(failed)
    with pytest.raises(NoiseError, match="too few"):
        certify_integers(numbers[:1000], 16, "quantum_bits")


def fluctuations(rng, evaluations, means, shots, drift=0.0):
    """Standardized means of `shots` signs; `drift` lets each evaluation remember the one before."""
    share = (1 - np.array(means)) / 2
    ones = rng.binomial(shots, share, (evaluations, len(means)))
    values = 1 - 2 * ones / shots
    deviation = np.sqrt((1 - np.array(means) ** 2) / shots)
    standard = (values - means) / deviation
    for i in range(1, evaluations if drift else 0):
        standard[i] = drift * standard[i - 1] + np.sqrt(1 - drift**2) * standard[i]
    return standard.astype(np.float32), np.array(means), deviation


def test_good_bits_pass_in_the_smallest_bank(rng):
    for _ in range(100):
        certificate = certify_integers(rng.integers(0, 2**16, LEAST_BITS // 16, dtype=np.uint16), 16, "quantum_bits")
        assert certificate.failed == ()


def test_fluctuations_are_held_to_their_own_law(rng):
    values, mean, deviation = fluctuations(rng, 20_000, [0.0, 0.6, -0.9], 16)
    assert certify_fluctuations(values, 16, mean, deviation, np.eye(3)).failed == ()
    # 16 shots at <Z> = -0.9 are far from normal, and that is reported but not claimed.
    to_normal = certify_fluctuations(values, 16, mean, deviation, None).measured["kolmogorov_smirnov_to_normal"]
    assert to_normal[2] > 0.1
    assert "variance" in certify_fluctuations(values * 1.1, 16, mean, deviation, None).failed
    assert "mean" in certify_fluctuations(values + 0.1, 16, mean, deviation, None).failed
    wrong = np.eye(3) + 0.1 - 0.1 * np.eye(3)
    assert certify_fluctuations(values, 16, mean, deviation, wrong).failed == ("covariance",)
    drifting, mean, deviation = fluctuations(rng, 20_000, [0.0, 0.6], 16, drift=0.1)
    assert {"autocorrelation", "runs"} <= set(certify_fluctuations(drifting, 16, mean, deviation, None).failed)


def test_reading_keeps_little_of_a_large_bank_in_memory(tmp_path):
    path = tmp_path / "large.npz"
    record = BankRecord("large", "gaussian", (1 << 27,), {"resolution": 16}, {"backend": "test"}, "")
    chunk = np.arange(1 << 22, dtype=np.uint16)
    write_bank(path, record, (chunk for _ in range(32)))
    assert path.stat().st_size > 1 << 28
    code = f"""
import numpy as np, pathlib
from qhybrid.diffusion.bank import Bank
def resident():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024
bank = Bank({str(path)!r})
bank.normals(0, 10)
before, most, total = resident(), 0, 0.0
for start in range(0, 1 << 27, 1 << 18):
    total += float(bank.normals(start, 1 << 18).sum())
    most = max(most, resident())
print(most - before)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=os.getcwd())
    assert int(answer.stdout) < 100, answer.stderr
