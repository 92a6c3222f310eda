import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from qhybrid.checkpoints.checkpoint import load_checkpoint
from qhybrid.config import EvaluationConfig, RelianceConfig, build_config
from qhybrid.data import to_tensor
from qhybrid.errors import CircuitError, RunDirectoryError
from qhybrid.evaluation.evaluate import evaluate, summary_lines
from qhybrid.evaluation.features import feature_extractor
from qhybrid.evaluation.metrics import kernel_distance
from qhybrid.evaluation.reliance import measure_reliance
from qhybrid.evaluation.reliance_statement import reliance_statement
from qhybrid.evaluation.replacements import Recorder, Shuffle, device_factors
from qhybrid.evaluation.samples import load_samples
from qhybrid.models.interventions import intervened
from qhybrid.rundir import RunDirectory
from qhybrid.sampling.generate import generate, sample_checkpoint
from qhybrid.training.loop import train

SETTINGS = EvaluationConfig(
    kid_subsets=10, kid_subset_size=20, reliance=RelianceConfig(images=30, test_images=24, time_bins=3)
)


def settings(core="quantum", place="condition", condition="class"):
    return build_config(
        {
            "name": "tiny",
            "model": {
                "channels": [8, 8, 16],
                "time_dim": 16,
                "condition": condition,
                "bottleneck": {"core": core, "place": place},
            },
            "quantum": {"qubits": 3, "layers": 1},
            "training": {"steps": 2, "batch_size": 8},
            "sampling": {"images": 40, "steps": 3, "batch_size": 16},
            "evaluation": {"kid_subsets": 10, "kid_subset_size": 20},
        }
    )


@pytest.fixture(scope="session")
def make_model(tmp_path_factory):
    """A model that uses its core (a fresh one ignores it), and a run directory with its samples."""

    def make(**options):
        run = train(settings(**options), tmp_path_factory.mktemp("reliance") / "run")
        checkpoint = load_checkpoint(run.path)
        generator = torch.Generator().manual_seed(0)
        if options.get("core") != "none":
            weight = checkpoint.model.bottleneck.excite.weight
            weight.data.copy_(torch.randn(weight.shape, generator=generator))
            head = checkpoint.model.head.weight
            head.data.copy_(0.2 * torch.randn(head.shape, generator=generator))
        sample_checkpoint(checkpoint, checkpoint.config.sampling, run)
        return checkpoint, run

    return make


@pytest.fixture(scope="session")
def conditional(make_model):
    return make_model()


def measured(model, digits, config=SETTINGS):
    checkpoint, run = model
    extractor = feature_extractor(digits)
    real, _ = extractor(digits.test)
    return measure_reliance(checkpoint, load_samples(run, digits), digits, real, extractor, config), extractor, real


def images_by_hand(checkpoint, run, digits, extractor, function, result):
    """Images of all seeds with the outputs replaced; the entry's are some of them."""
    samples = load_samples(run, digits)
    from qhybrid.seeds import generator

    chosen = np.sort(generator(0, "evaluation: reliance").permutation(40)[: result["n_generated"]])
    with intervened(checkpoint.model, function):
        images = generate(
            checkpoint,
            checkpoint.config.sampling,
            samples.seeds.tolist(),
            labels=samples.labels if checkpoint.labels is not None else None,
        )[chosen]
    return images, *extractor(images[..., None]), samples, chosen


@pytest.mark.parametrize("place", ["condition", "gate", "features"])
def test_zeroing_by_hand_equals_the_entry(make_model, digits, cached, place):
    checkpoint, run = make_model(place=place)
    result, extractor, real = measured((checkpoint, run), digits)
    images, features, probabilities, samples, chosen = images_by_hand(
        checkpoint, run, digits, extractor, torch.zeros_like, result
    )
    entry = result["outputs"]["zeroed"]
    assert entry["kid"]["value"] == pytest.approx(kernel_distance(features, real), abs=1e-9)
    accuracy = (probabilities.argmax(axis=1) == samples.labels[chosen]).mean()
    assert entry["class_accuracy"]["value"] == pytest.approx(accuracy)
    untouched, _ = extractor(samples.images[chosen])
    assert result["untouched"]["kid"]["value"] == pytest.approx(kernel_distance(untouched, real), abs=1e-9)
    difference = entry["kid"]["value"] - result["untouched"]["kid"]["value"]
    assert entry["difference"]["kid"]["value"] == pytest.approx(difference)
    moved = np.abs(images.astype(float) - samples.images[chosen][..., 0]).mean()
    assert entry["pixel_difference"]["value"] == pytest.approx(moved)
    assert moved > 1
    assert entry["pixel_difference"]["n"] == result["n_generated"] == 30
    json.dumps(result, allow_nan=False)


def test_loss_without_the_core_equals_the_network_with_its_outputs_cut(conditional, digits, cached):
    checkpoint, run = conditional
    result, _, _ = measured(conditional, digits)
    losses = result["outputs"]["zeroed"]
    # The same model with a linear map behind the core that passes nothing but its bias.
    cut = load_checkpoint(run.path)
    cut.model.load_state_dict(checkpoint.model.state_dict())
    torch.nn.init.zeros_(cut.model.bottleneck.excite.weight)
    other, _, _ = measured((cut, run), digits)
    assert losses["loss"]["value"] == pytest.approx(other["untouched"]["loss"]["value"], rel=1e-5)
    for mine, theirs in zip(losses["loss_by_time"], other["untouched"]["loss_by_time"], strict=True):
        assert mine["value"] == pytest.approx(theirs["value"], rel=1e-5)
    assert len(losses["loss_by_time"]) == 3
    assert losses["loss"]["value"] == pytest.approx(np.mean([entry["value"] for entry in losses["loss_by_time"]]))
    assert losses["loss"]["n"] == 24
    # What does not reach the network cannot change anything, whatever is done to it.
    for name in ("zeroed", "mean", "shuffled", "shrunk"):
        entry = other["outputs"][name]
        assert entry["difference"]["loss"]["interval"] == [0, 0]
        assert entry["difference"]["kid"]["value"] == 0
        assert entry["pixel_difference"]["value"] == 0
    assert other["depends"] is False
    assert "do not depend on the circuit" in other["statement"]


def test_shrinking_is_by_the_factor_that_the_device_leaves_of_each_output(conditional, digits, cached):
    checkpoint, run = conditional
    config = SETTINGS.model_copy(update={"reliance": SETTINGS.reliance.model_copy(update={"device": "fake_manila"})})
    result, extractor, real = measured(conditional, digits, config)
    entry = result["outputs"]["shrunk"]
    from qhybrid.quantum.analysis.signal_loss import device_shrinkage

    expected = device_shrinkage(checkpoint.spec, "fake_manila").total.slope
    assert entry["factors"] == pytest.approx(list(expected))
    assert entry["device"] == "fake_manila"
    assert all(0.5 < factor < 1 for factor in entry["factors"])
    _, features, *_ = images_by_hand(
        checkpoint,
        run,
        digits,
        extractor,
        lambda outputs: outputs * torch.tensor(expected, dtype=outputs.dtype),
        result,
    )
    assert entry["kid"]["value"] == pytest.approx(kernel_distance(features, real), abs=1e-6)


def test_a_device_that_does_not_exist_is_named(conditional, digits, cached):
    with pytest.raises(CircuitError, match="fake_nowhere"):
        device_factors(conditional[0], "fake_nowhere")


def test_no_factors_where_nothing_shrinks_or_noise_acts_already(conditional, make_model):
    factors, record = device_factors(make_model(core="se", place="gate")[0], None)
    assert factors is None
    assert "no circuit" in record["reason"]
    checkpoint = conditional[0]
    noisy = checkpoint.config.model_copy(
        update={"quantum": type(checkpoint.config.quantum).model_validate({"noise": {"device": "fake_manila"}})}
    )
    factors, record = device_factors(replace(checkpoint, config=noisy), None)
    assert factors is None
    assert "`fake_manila` already" in record["reason"]


def test_a_model_without_a_core_has_nothing_to_rely_on(make_model, digits, cached):
    result, _, _ = measured(make_model(core="none", place="gate", condition="none"), digits)
    assert "core: none" in result["reason"]
    assert result["depends"] is None


def test_an_unconditional_model_and_a_classical_core_are_measured(make_model, digits, cached):
    checkpoint, run = make_model(core="se", place="gate", condition="none")
    result, extractor, real = measured((checkpoint, run), digits)
    assert "class_accuracy" not in result["untouched"]
    assert "kid" not in result["outputs"]["shrunk"]
    _, features, *_ = images_by_hand(checkpoint, run, digits, extractor, torch.zeros_like, result)
    assert result["outputs"]["zeroed"]["kid"]["value"] == pytest.approx(kernel_distance(features, real), abs=1e-9)
    assert "core (`se`)" in result["statement"]


def test_the_mean_is_that_of_all_outputs_that_passed():
    recorder = Recorder()
    first, second = torch.randn(5, 3), torch.randn(2, 3) + 4
    assert torch.equal(recorder(first), first)
    recorder(second)
    expected = torch.cat([first, second]).mean(dim=0)
    assert torch.allclose(recorder.mean(torch.zeros(4, 3)), expected.expand(4, 3), atol=1e-6)


def test_shuffling_keeps_the_rows_of_an_image_together_and_draws_anew():
    outputs = torch.arange(24.0).view(12, 2)  # 4 images of 3 positions
    shuffle = Shuffle(3, seed=0)
    drawn = [shuffle(outputs) for _ in range(20)]
    for found in drawn:
        images = found.view(4, 6)
        assert sorted(images[:, 0].tolist()) == [0, 6, 12, 18]
        assert torch.equal(images - images[:, :1], torch.arange(6.0).expand(4, 6))
    assert len({tuple(found.flatten().tolist()) for found in drawn}) > 5
    again = Shuffle(3, seed=0)
    assert all(torch.equal(found, again(outputs)) for found in drawn)


def result_with(zeroed, mean=(-0.01, 0.01), shuffled=(-0.01, 0.01), accuracy=None):
    def entry(interval):
        kid = {"value": 0.5, "interval": [0.4, 0.6]}
        change = {"kid": {"value": sum(interval) / 2, "interval": list(interval)}}
        found = {"kid": kid, "difference": change, "pixel_difference": {"value": 0.9}}
        if accuracy is not None:
            found["class_accuracy"] = {"value": 0.1}
            change["class_accuracy"] = {"value": sum(accuracy) / 2, "interval": list(accuracy)}
        return found

    untouched = {"kid": {"value": 0.01}, "class_accuracy": {"value": 0.97}}
    outputs = {"zeroed": entry(zeroed), "mean": entry(mean), "shuffled": entry(shuffled)}
    return {"circuit": True, "core": "quantum", "untouched": untouched, "outputs": outputs}


def test_the_sentence_follows_the_intervals():
    none = reliance_statement(result_with((-0.005, 0.004)))
    assert none["depends"] is False
    assert "The images do not depend on the circuit" in none["statement"]
    assert "[-0.005, +0.004]" in none["statement"]
    constant = reliance_statement(result_with((0.2, 0.4)))
    assert constant["depends"] is True
    assert "a constant from the circuit" in constant["statement"]
    varying = reliance_statement(result_with((0.2, 0.4), shuffled=(0.1, 0.3)))
    assert "The images depend on the circuit" in varying["statement"]
    by_class = reliance_statement(result_with((-0.1, 0.1), accuracy=(-0.9, -0.8)))
    assert by_class["depends"] is True
    assert "class accuracy goes from 0.970 to 0.100" in by_class["statement"]


def test_evaluation_holds_reliance_where_there_is_a_model(conditional, digits, cached, tmp_path):
    checkpoint, run = conditional
    few = EvaluationConfig(kid_subsets=10, reliance=RelianceConfig(images=10, test_images=10, time_bins=1))
    result = evaluate(run, config=few, checkpoint=checkpoint)
    assert json.loads(run.evaluation_file.read_text())["reliance"] == result["reliance"]
    assert result["reliance"]["n_generated"] == 10
    assert any(line.startswith("Reliance: The images") for line in summary_lines(result))
    off = few.model_copy(update={"reliance": None})
    assert evaluate(run, config=off)["reliance"] is None
    assert evaluate(run, config=few, reliance=False)["reliance"] is None
    assert evaluate(run, config=off, reliance=True)["reliance"]["n_generated"] == 40
    samples_only = RunDirectory.create(tmp_path / "run", checkpoint.config)
    samples_only.images_file.parent.mkdir()
    samples_only.images_file.write_bytes(run.images_file.read_bytes())
    assert evaluate(samples_only, config=few)["reliance"] is None
    with pytest.raises(RunDirectoryError, match="no checkpoint"):
        evaluate(samples_only, config=few, reliance=True)


def test_reliance_is_the_same_each_time(conditional, digits, cached):
    assert measured(conditional, digits)[0] == measured(conditional, digits)[0]


def test_the_noise_is_common_and_the_labels_are_the_test_images_own(conditional, digits, cached):
    """The loss with every output untouched is that of the plain forward process, computed here once more."""
    checkpoint, _ = conditional
    one = EvaluationConfig(kid_subsets=4, reliance=RelianceConfig(images=10, test_images=359, time_bins=1))
    result, _, _ = measured(conditional, digits, one)
    rng = np.random.default_rng(3)
    from qhybrid.diffusion.process import ForwardProcess

    process = ForwardProcess(checkpoint.config.diffusion)
    losses = []
    with torch.no_grad():
        for _ in range(6):
            images = to_tensor(digits.test)
            epsilon = torch.from_numpy(rng.standard_normal(images.shape, dtype=np.float32))
            t = torch.from_numpy(rng.integers(0, 1000, len(images)))
            labels = torch.from_numpy(digits.test_labels)
            losses.append(float(process.loss(lambda x, t, y=labels: checkpoint.model(x, t, y), images, epsilon, t)))
    low, high = result["untouched"]["loss"]["interval"]
    assert low < np.mean(losses) < high


def test_a_device_that_does_not_exist_is_refused_before_training(tmp_path, command):
    path = tmp_path / "config.yaml"
    path.write_text("name: tiny\nsampling: {}\nevaluation: {reliance: {device: fake_nowhere}}\n")
    code, _, errors = command("run", path, "--out", tmp_path / "run")
    assert code == 2
    assert "fake_nowhere" in errors
    assert not (tmp_path / "run").exists()
