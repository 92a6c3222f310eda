"""Images of classes: which are made, what they depend on, and guidance."""

import numpy as np
import pytest
import torch

from qhybrid.checkpoints.checkpoint import load_checkpoint
from qhybrid.config import SamplingConfig, build_config, build_section
from qhybrid.data import load_data
from qhybrid.data.labels import LabelSpace
from qhybrid.errors import ConfigError, DataError
from qhybrid.sampling.generate import generate, generate_batch, guided, noise_of, sample
from qhybrid.training.loop import train

SETTINGS = {
    "data": {"name": "digits", "classes": [1, 4, 7], "n_train": 30},
    "model": {"condition": "class", "channels": [8, 8, 16], "time_dim": 16},
    "quantum": {"qubits": 3, "layers": 1},
    "diffusion": {"timesteps": 50, "prediction": "v"},
    "training": {"steps": 30, "batch_size": 16, "learning_rate": 1e-2, "warmup_steps": 0, "device": "cpu"},
}
FEW = SamplingConfig(images=12, steps=3, batch_size=12)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(build_config(SETTINGS), tmp_path_factory.mktemp("runs") / "conditional")


@pytest.fixture(scope="module")
def checkpoint(run):
    checkpoint = load_checkpoint(run.path)
    # So much opened that each class shows in the pixels.
    with torch.no_grad():
        checkpoint.model.bottleneck.excite.weight.mul_(5).add_(0.3)
    return checkpoint


def changed(**values):
    return build_section(SamplingConfig, FEW.model_dump() | values, "sampling")


def test_by_default_every_class_of_the_training_images_comes_in_turn(run):
    images = sample(run, FEW)
    with np.load(run.images_file) as file:
        assert file["labels"].tolist() == [1, 4, 7] * 4
        assert file["labels"].dtype == np.int64
        assert file["seeds"].tolist() == list(range(12))
        assert np.array_equal(file["images"], images)


@pytest.mark.parametrize(
    ("classes", "labels"),
    [([7], [7] * 5), ([4, 1], [4, 1, 4, 1, 4]), ({7: 3, 1: 2}, [7, 7, 7, 1, 1]), ("balanced", [1, 4, 7, 1, 4])],
)
def test_classes_by_list_and_by_count(run, classes, labels):
    sample(run, build_section(SamplingConfig, {"images": 5, "steps": 2, "classes": classes}, "sampling"))
    with np.load(run.images_file) as file:
        assert file["labels"].tolist() == labels


def test_counts_say_how_many_images(run):
    assert build_section(SamplingConfig, {"classes": {4: 2, 7: 1}}, "sampling").images == 3
    # As stored in a checkpoint, where JSON has made texts of the keys.
    assert build_section(SamplingConfig, {"classes": {"4": 2, "7": 1}}, "sampling").classes == {4: 2, 7: 1}


def test_an_image_depends_on_its_seed_and_class_alone(checkpoint):
    seeds = list(range(20))
    labels = checkpoint.labels.asked("balanced", 20)
    whole = generate(checkpoint, changed(batch_size=20), seeds, labels=labels)
    parts = generate(checkpoint, changed(batch_size=7), seeds, labels=labels)
    assert np.array_equal(whole, parts)
    for i in (0, 4, 19):
        alone = generate(checkpoint, FEW, [i], labels=labels[i : i + 1])
        assert np.array_equal(alone[0], whole[i])
    others = generate(checkpoint, changed(batch_size=20), seeds, labels=np.roll(labels, 1))
    assert (others != whole).reshape(20, -1).any(axis=1).all()


def test_guidance_of_one_is_none_bit_for_bit_and_runs_the_network_once(checkpoint):
    model = checkpoint.model
    labels = torch.tensor([1, 4, 7, 1])
    x, t = torch.randn(4, 1, 8, 8), torch.full((4,), 20)
    with torch.no_grad():
        asked, free = model(x, t, labels), model(x, t)
        assert torch.equal(guided(model, labels, changed(guidance=1.0))(x, t), asked)
        # Equation 6 of Ho and Salimans, with w = 1 + their weight; w = 0 is the model without a label.
        bare = changed(guidance=3.0, guidance_rescale=0.0)
        torch.testing.assert_close(guided(model, labels, bare)(x, t), 3 * asked - 2 * free)
        none = changed(guidance=0.0, guidance_rescale=0.0)
        torch.testing.assert_close(guided(model, labels, none)(x, t), free)
        calls = []
        handle = model.head.register_forward_hook(lambda *_: calls.append(1))
        guided(model, labels, FEW)(x, t)
        handle.remove()
    assert len(calls) == 1


def test_guided_predictions_are_brought_back_to_the_spread_of_the_labelled_ones(checkpoint):
    model = checkpoint.model
    labels = torch.tensor([1, 4, 7, 1])
    x, t = torch.randn(4, 1, 8, 8), torch.full((4,), 20)
    with torch.no_grad():
        asked, free = (item.double().numpy() for item in (model(x, t, labels), model(x, t)))
        whole, part = (
            guided(model, labels, changed(guidance=3.0, guidance_rescale=phi))(x, t).numpy() for phi in (1.0, 0.7)
        )
    pushed = 3 * asked - 2 * free
    # Equations 15 and 16 of Lin et al., image by image.
    for i in range(4):
        rescaled = pushed[i] * asked[i].std(ddof=1) / pushed[i].std(ddof=1)
        np.testing.assert_allclose(whole[i], rescaled, atol=1e-5)
        np.testing.assert_allclose(part[i], 0.7 * rescaled + 0.3 * pushed[i], atol=1e-5)


def test_guidance_of_an_untrained_network_is_finite(checkpoint):
    class Zero(torch.nn.Module):
        def forward(self, x, t, labels=None):
            return torch.zeros_like(x)

    assert torch.equal(
        guided(Zero(), None, changed(guidance=2.0))(torch.ones(2, 1, 8, 8), torch.zeros(2)), torch.zeros(2, 1, 8, 8)
    )


def test_guidance_changes_images_and_one_does_not(checkpoint):
    seeds, labels = list(range(12)), checkpoint.labels.asked([7], 12)
    source = noise_of(checkpoint, FEW)
    plain = generate_batch(checkpoint, FEW, seeds, source, labels)
    assert torch.equal(generate_batch(checkpoint, changed(guidance=1.0), seeds, source, labels), plain)
    assert not torch.equal(generate_batch(checkpoint, changed(guidance=3.0), seeds, source, labels), plain)


def test_a_class_that_the_data_lacks_is_named_and_nothing_is_written(run):
    sample(run, FEW)
    before = run.images_file.read_bytes()
    with pytest.raises(DataError, match=r"class 3 was asked for, but the training images have none of it: .* 1, 4, 7"):
        sample(run, changed(classes=[1, 3]))
    assert run.images_file.read_bytes() == before


def test_a_class_that_the_data_lacks_is_found_before_training(tmp_path):
    config = build_config(SETTINGS | {"sampling": {"classes": [1, 12]}})
    with pytest.raises(DataError, match="class 12"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_guidance_needs_a_model_that_learnt_to_do_without_a_label(tmp_path):
    values = SETTINGS | {"training": SETTINGS["training"] | {"label_dropout": 0.0, "steps": 1}}
    run = train(build_config(values), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"guidance: 2.*label_dropout: 0"):
        sample(run, changed(guidance=2.0))


def test_the_labels_that_a_checkpoint_knows_are_those_of_its_training_images(checkpoint):
    space = checkpoint.labels
    assert space.classes == [1, 4, 7]
    assert space.counts.tolist() == [10, 10, 10]
    assert len(space.names) == 10


def multi_label_space():
    rows = np.array([[0, 0, 0]] * 6 + [[1, 0, 0]] * 3 + [[1, 1, 0]])
    labels, counts = np.unique(rows, axis=0, return_counts=True)
    return LabelSpace(("a", "b", "c"), labels, counts)


def test_a_multi_label_set_is_asked_for_vectors_as_often_as_they_occur():
    space = multi_label_space()
    asked = space.asked("balanced", 1000)
    assert asked.shape == (1000, 3)
    shares = {tuple(row): float((asked == row).all(axis=1).mean()) for row in np.unique(asked, axis=0)}
    assert shares == pytest.approx({(0, 0, 0): 0.6, (1, 0, 0): 0.3, (1, 1, 0): 0.1}, abs=0.005)
    assert np.array_equal(space.asked("balanced", 10), asked[:10])
    assert space.asked([1, 0], 3).tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0]]
    with pytest.raises(DataError, match=r"class 2 was asked for.*0 \(a\), 1 \(b\)"):
        space.asked([2], 3)


def test_label_spaces_survive_json():
    for space in (multi_label_space(), LabelSpace.of(load_data(build_config(SETTINGS).data))):
        again = LabelSpace.from_json(space.to_json())
        assert again.names == space.names
        assert np.array_equal(again.asked("balanced", 9), space.asked("balanced", 9))


def test_a_multi_label_set_trains_and_samples(tmp_path, rng_images):
    path = tmp_path / "multi.npz"
    images, labels = rng_images
    np.savez(
        path,
        **{f"{split}_{part}": a for split in ("train", "test") for part, a in (("images", images), ("labels", labels))},
    )
    config = build_config(
        SETTINGS
        | {
            "data": {"name": "npz", "path": str(path)},
            "training": SETTINGS["training"] | {"steps": 2, "label_dropout": 0.5},
        }
    )
    run = train(config, tmp_path / "run")
    sample(run, FEW)
    with np.load(run.images_file) as file:
        assert file["labels"].shape == (12, 3)


@pytest.fixture
def rng_images():
    random = np.random.default_rng(0)
    return random.integers(0, 256, (24, 8, 8), dtype=np.uint8), random.integers(0, 2, (24, 3))
