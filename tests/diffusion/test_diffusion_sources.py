"""Simulated sources, where noise enters, and runs with it."""

import numpy as np
import pytest
import torch
from qiskit_aer.noise import ReadoutError
from safetensors.torch import load_file

from qhybrid.checkpoints.checkpoint import latest_checkpoint, load_checkpoint
from qhybrid.checkpoints.stages import circuit_in, with_circuit
from qhybrid.config import DiffusionConfig, NoiseConfig, SimulatedNoiseConfig, build_config
from qhybrid.diffusion.certify import certify_simulated
from qhybrid.diffusion.errors import NoiseError
from qhybrid.diffusion.making import make_bank
from qhybrid.diffusion.noise import GaussianNoise, TimedNoise, forward_noise, image_noise, noise_source
from qhybrid.diffusion.simulate import MeasuredCircuit, SimulatedBits, SimulatedFluctuations, lay_patches, patch_of
from qhybrid.diffusion.sources import open_source
from qhybrid.errors import CircuitError
from qhybrid.sampling.generate import generate
from qhybrid.seeds import Stream
from qhybrid.training.loop import train

SHAPE = (1, 8, 8)


class Constant:
    """Noise that shows where it went."""

    def draw(self, name, shape):
        return torch.full(tuple(shape), 7.0)


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("banks")
    config = SimulatedNoiseConfig(qubits=4, shots=16)
    make_bank(folder / "bits.npz", "quantum_bits", SimulatedNoiseConfig(extractor="none"), 100_000)
    make_bank(
        folder / "intrinsic.npz", "quantum_intrinsic", config.model_copy(update={"device": "fake_manila"}), 80_000
    )
    return folder


@pytest.mark.parametrize("extractor", ["none", "von_neumann", "toeplitz"])
def test_simulated_bits_keep_their_claim_and_their_names(extractor):
    source = SimulatedBits(SimulatedNoiseConfig(extractor=extractor))
    assert certify_simulated(source).failed == ()
    first = source.draw(Stream("image", 3, 1), SHAPE)
    assert torch.equal(first, source.draw(Stream("image", 3, 1), SHAPE))
    others = [("image", 3, 2), ("image", 3), ("image", 1, 3), ("training", 3, 1), ("bank", 3, 1)]
    for other in (Stream(*words) for words in others):
        assert not torch.equal(first, source.draw(other, SHAPE))


def test_a_device_biases_bits_and_debiasing_mends_them(monkeypatch):
    settings = SimulatedNoiseConfig(device="fake_manila", qubits=4, extractor="none")
    source = SimulatedBits(settings)
    honest = source.circuit.shots

    def tilted(name, count, attempt=None):
        """Readout that loses one in fifty ones, as devices do (snapshots store symmetric errors)."""
        lost = np.random.default_rng((*name.words, attempt or 0)).random((count, 4)) < 0.02
        return honest(name, count, attempt) & ~lost.astype(bool)

    monkeypatch.setattr(source.circuit, "shots", tilted)
    assert {"bias", "mean"} <= set(certify_simulated(source).failed)
    mended = SimulatedBits(settings.model_copy(update={"extractor": "von_neumann"}))
    monkeypatch.setattr(mended.circuit, "shots", tilted)
    assert certify_simulated(mended).failed == ()


@pytest.mark.parametrize("device", ["aer", "fake_manila"])
def test_fluctuations_keep_their_claim_and_their_correlations(device):
    source = SimulatedFluctuations(SimulatedNoiseConfig(device=device, qubits=4, shots=16))
    certificate = certify_simulated(source)
    assert certificate.failed == ()
    assert certificate.measured["spatial_correlation"] > 0.1
    images = torch.stack([source.draw(Stream("image", seed, 0), SHAPE) for seed in range(120)])
    assert torch.equal(images[7], source.draw(Stream("image", 7, 0), SHAPE))
    # Pixels of a patch are qubits, row by row: their covariance is the circuit's; other patches are independent.
    tiles = images.reshape(120, 4, 2, 4, 2).transpose(2, 3).reshape(-1, 4).double()
    assert torch.cov(tiles.T).numpy() == pytest.approx(np.array(certificate.measured["covariance"]), abs=0.15)


@pytest.mark.parametrize("device", ["aer", "fake_manila"])
def test_shots_follow_the_law_of_shots_that_aer_draws(device):
    from qiskit import QuantumCircuit, transpile
    from qiskit_aer import AerSimulator
    from scipy.stats import chi2_contingency

    circuit = QuantumCircuit(3)
    for qubit, angle in enumerate((0.4, 2.0, 1.1)):
        circuit.ry(angle, qubit)
    circuit.cx([0, 1], [1, 2])
    measured = MeasuredCircuit(circuit, device)
    # Readout that is not symmetric, so that 0 and 1 taken for each other would show.
    options = {}
    if measured.part is not None:
        readout = ReadoutError([[0.99, 0.01], [0.2, 0.8]])
        options = {"noise_model": measured.noise}
        measured.noise.add_readout_error(readout, [1], warnings=False)
        circuit = transpile(circuit, measured.part, initial_layout=[0, 1, 2], optimization_level=1)
    job = AerSimulator(seed_simulator=1, **options).run(circuit.measure_all(inplace=False), shots=20_000)
    expected = np.array([job.result().get_counts().get(f"{outcome:03b}", 0) for outcome in range(8)])
    drawn = np.bincount(measured.shots(Stream("image", 3), 20_000) @ [1, 2, 4], minlength=8)
    assert chi2_contingency([expected, drawn]).pvalue > 1e-3
    assert np.array_equal(measured.shots(Stream("image", 3), 50), measured.shots(Stream("image", 3), 50))


def test_the_noise_of_a_device_shrinks_what_fluctuates():
    ideal, noisy = (
        SimulatedFluctuations(SimulatedNoiseConfig(device=device, qubits=4)) for device in ("aer", "fake_manila")
    )
    assert np.abs(noisy.mean).max() < np.abs(ideal.mean).max()
    assert noisy.mean != pytest.approx(ideal.mean, abs=1e-3)


def test_patches_are_laid_side_by_side():
    laid = lay_patches(np.arange(32, dtype=np.float32), (2, 2), (2, 4, 4))
    assert laid[0, :2, :2].ravel().tolist() == [0, 1, 2, 3]
    assert laid[0, :2, 2:].ravel().tolist() == [4, 5, 6, 7]
    assert laid[1, 2:, 2:].ravel().tolist() == [28, 29, 30, 31]
    assert [patch_of(n) for n in (1, 4, 6, 7, 8, 12)] == [(1, 1), (2, 2), (2, 3), (1, 7), (2, 4), (3, 4)]


def test_patches_that_do_not_fill_an_image_are_refused(banks):
    source = SimulatedFluctuations(SimulatedNoiseConfig(qubits=6, shots=4))
    with pytest.raises(NoiseError, match="6 qubits fill patches of 2x3 pixels, of which images of 8x8 cannot"):
        source.draw(Stream("image", 0, 0), SHAPE)
    stored = open_source(NoiseConfig(source="quantum_intrinsic", bank=str(banks / "intrinsic.npz")), "latent")
    assert stored.draw(Stream("image", 0, 0), SHAPE).shape == SHAPE
    with pytest.raises(NoiseError, match="of which images of 9x9 cannot be made"):
        stored.draw(Stream("image", 0, 0), (1, 9, 9))


def test_an_unknown_device_is_named():
    with pytest.raises(CircuitError, match="fake_nowhere"):
        SimulatedBits(SimulatedNoiseConfig(device="fake_nowhere"))


def test_the_share_mixes_both_parts_and_keeps_the_variance():
    share = torch.tensor([0.0, 0.36, 1.0])
    mixed = TimedNoise(Constant(), share).draw_at(torch.tensor([0, 1, 2]), Stream("image", 5, 1), (3, *SHAPE))
    gaussian = GaussianNoise().draw(Stream("image", 5, 1), (3, *SHAPE))
    assert torch.equal(mixed[0], gaussian[0])
    torch.testing.assert_close(mixed[1], 0.8 * gaussian[1] + 0.6 * 7)
    assert torch.equal(mixed[2], torch.full(SHAPE, 7.0))


@pytest.mark.parametrize(("latent", "reverse", "forward"), [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
def test_each_place_is_switched_alone(banks, latent, reverse, forward):
    noise = {"source": "quantum_bits", "bank": str(banks / "bits.npz")}
    places = {"latent": bool(latent), "reverse": bool(reverse), "forward": bool(forward)}
    config = DiffusionConfig.model_validate({"noise": noise | places})
    gaussian, source = GaussianNoise(), noise_source(config, [900, 500, 100])
    for step, quantum in ((0, latent), (2, reverse)):
        same = torch.equal(image_noise(source, [4], SHAPE, step), image_noise(gaussian, [4], SHAPE, step))
        assert same != bool(quantum)
    assert isinstance(forward_noise(config, 10), TimedNoise) == bool(forward)


def test_the_share_follows_the_time_of_each_reverse_step(banks):
    noise = {
        "source": "quantum_bits",
        "bank": str(banks / "bits.npz"),
        "share": {"kind": "linear", "start": 0, "end": 1},
    }
    config = DiffusionConfig.model_validate({"noise": noise})
    source, gaussian = noise_source(config, [999, 500, 0]), GaussianNoise()
    assert torch.equal(source.draw(Stream("image", 4, 3), SHAPE), gaussian.draw(Stream("image", 4, 3), SHAPE))  # t = 0
    stored = open_source(config.noise, "reverse", 3)
    assert torch.equal(source.draw(Stream("image", 4, 1), SHAPE), stored.draw(Stream("image", 4, 1), SHAPE))  # t = 999
    name = Stream("image", 4, 2)
    half = source.draw(name, SHAPE)
    share = 500 / 999
    expected = (1 - share) ** 0.5 * gaussian.draw(name, SHAPE) + share**0.5 * stored.draw(name, SHAPE)
    torch.testing.assert_close(half, expected)


def config(**sections):
    base = {
        "name": "noisy",
        "data": {"n_train": 20},
        "model": {"channels": [8, 16, 24], "time_dim": 16},
        "quantum": {"qubits": 2, "layers": 1},
        "training": {"steps": 3, "batch_size": 4, "log_every": 1, "threads": 1, "device": "cpu"},
        "sampling": {"images": 4, "steps": 3, "eta": 1.0},
    }
    return build_config(base | sections)


def run(settings, path):
    directory = train(settings, path)
    checkpoint = load_checkpoint(directory.path)
    return load_file(latest_checkpoint(directory) / "model.safetensors"), generate(
        checkpoint, settings.sampling, [0, 1, 2, 3]
    )


def test_noise_off_is_the_exact_run_bit_for_bit(tmp_path, banks):
    bits = {"source": "quantum_bits", "bank": str(banks / "bits.npz")}
    plain_weights, plain_images = run(config(), tmp_path / "plain")
    off = [
        {"noise": bits | {"share": 0.0}},
        {"noise": bits | {"forward": False, "latent": False, "reverse": False}},
        {"noise": "gaussian", "schedule": "cosine", "times": "uniform"},
    ]
    for index, diffusion in enumerate(off):
        weights, images = run(config(diffusion=diffusion), tmp_path / f"off{index}")
        assert all(torch.equal(weights[name], plain_weights[name]) for name in plain_weights)
        assert np.array_equal(images, plain_images)
    weights, images = run(config(diffusion={"noise": bits}), tmp_path / "on")
    assert not torch.equal(weights["head.weight"], plain_weights["head.weight"])
    assert not np.array_equal(images, plain_images)


def test_the_circuits_noise_acts_in_the_stage_that_is_named():
    noisy = {"qubits": 2, "layers": 1, "simulator": "aer", "shots": 8}
    for where, training, sampling in (("both", 8, 8), ("training", 8, None), ("sampling", None, 8)):
        settings = config(quantum=noisy, diffusion={"noise": {"circuit": where}})
        assert circuit_in(settings, "training").quantum.shots == training
        assert circuit_in(settings, "sampling").quantum.shots == sampling


def test_one_checkpoint_is_sampled_exactly_and_with_shots(tmp_path):
    settings = config()
    checkpoint = load_checkpoint(train(settings, tmp_path / "run").path)
    with torch.no_grad():
        # An untrained gate ignores its circuit, and an untrained head its gate.
        checkpoint.model.bottleneck.excite.weight.normal_()
        checkpoint.model.head.weight.normal_(std=0.1)
    exact = generate(checkpoint, settings.sampling, [0, 1])
    quantum = settings.quantum.model_copy(update={"simulator": "aer", "shots": 4})
    sampled = with_circuit(checkpoint, quantum)
    assert not np.array_equal(generate(sampled, settings.sampling, [0, 1]), exact)
    again = with_circuit(sampled, settings.quantum)
    assert np.array_equal(generate(again, settings.sampling, [0, 1]), exact)
