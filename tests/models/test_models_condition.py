"""The label's only way into the network, what the core sees, and interventions on its outputs."""

import pytest
import torch

from qhybrid.config import build_config
from qhybrid.errors import ConfigError
from qhybrid.models.build import build_model
from qhybrid.models.interventions import intervened

CLASSES = 5
PLACES = ("gate", "condition", "features")


def opened(core="quantum", place="gate", sees=None, condition="class"):
    """A model whose zero-initialized layers hold random numbers, so that everything shows in its prediction."""
    bottleneck = {"core": core, "place": place} | ({} if sees is None else {"sees": sees})
    config = build_config(
        {
            "model": {"bottleneck": bottleneck, "condition": condition, "channels": [8, 8, 16], "time_dim": 8},
            "quantum": {"qubits": 3, "layers": 2},
        }
    )
    model = build_model(config, 1, classes=CLASSES)
    torch.manual_seed(1)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.5)
    return model


def batch(n=12):
    torch.manual_seed(2)
    return torch.randn(n, 1, 8, 8), torch.arange(n) * 50, torch.arange(n) % CLASSES


@pytest.mark.parametrize("core", ["quantum", "quantum_frozen", "quantum_product", "se", "se_frozen", "sine", "fourier"])
@pytest.mark.parametrize("place", PLACES)
def test_the_label_reaches_the_prediction_through_the_core_and_nowhere_else(core, place):
    model = opened(core, place)
    x, t, labels = batch()
    (gradient,) = torch.autograd.grad(model(x, t, labels).square().sum(), model.bottleneck.embed_class.weight)
    assert float(gradient[:CLASSES].abs().max()) > 1e-4
    with intervened(model, torch.Tensor.detach):
        prediction = model(x, t, labels)
    (nothing,) = torch.autograd.grad(
        prediction.square().sum(), model.bottleneck.embed_class.weight, allow_unused=True, materialize_grads=True
    )
    assert not nothing.any()


@pytest.mark.parametrize("place", PLACES)
def test_with_the_outputs_fixed_another_label_changes_nothing(place):
    model = opened(place=place)
    x, t, labels = batch()
    others = (labels + 1) % CLASSES
    assert float((model(x, t, labels) - model(x, t, others)).detach().abs().max()) > 1e-3
    with intervened(model, torch.zeros_like):
        assert torch.equal(model(x, t, labels), model(x, t, others))


def test_no_label_is_an_input_of_its_own():
    model = opened()
    x, t, labels = batch()
    withheld = torch.where(torch.arange(12) < 6, -1, labels)
    free, asked, mixed = model(x, t), model(x, t, labels), model(x, t, withheld)
    torch.testing.assert_close(mixed[:6], free[:6])
    torch.testing.assert_close(mixed[6:], asked[6:])
    assert float((free - asked).detach().abs().amax(dim=(1, 2, 3)).min()) > 1e-4


def test_a_multi_label_vector_with_one_class_is_that_class():
    model = opened()
    x, t, labels = batch()
    rows = torch.nn.functional.one_hot(labels, CLASSES)
    torch.testing.assert_close(model(x, t, rows), model(x, t, labels))
    torch.testing.assert_close(model(x, t, torch.full_like(rows, -1)), model(x, t))
    # "None of the classes" is a label: neither that of a class nor none.
    healthy = model(x, t, torch.zeros_like(rows))
    assert float((healthy - model(x, t)).detach().abs().max()) > 1e-3
    both = model(x, t, (rows + rows.roll(1, dims=1)))
    assert float((both - model(x, t, labels)).detach().abs().max()) > 1e-3


@pytest.mark.parametrize("place", ["gate", "condition"])
def test_without_the_image_among_what_it_sees_the_angles_do_not_depend_on_it(place):
    x, t, labels = batch()
    blind, seeing = opened(place=place, sees=["class", "time"]), opened(place=place)
    for model, alike in ((blind, True), (seeing, False)):
        first, second = (model.core_inputs(model.encode(images, t), labels) for images in (x, x.flip(0) + 1))
        assert torch.equal(first, second) is alike
    times = blind.core_inputs(blind.encode(x, t + 100), labels)
    assert not torch.allclose(times, blind.core_inputs(blind.encode(x, t), labels), atol=1e-4)


def test_angles_are_bounded_whatever_comes_in():
    model = opened()
    x, t, labels = batch()
    with torch.no_grad():
        model.bottleneck.squeeze.weight.mul_(1e4)
    angles = model.core_inputs(model.encode(x, t), labels).detach()
    assert float(angles.abs().max()) <= torch.pi + 1e-6
    assert float(angles.abs().max()) > 3


@pytest.mark.parametrize("place", PLACES)
def test_the_two_halves_are_the_whole(place):
    model = opened(place=place)
    x, t, labels = batch()
    encoded = model.encode(x, t)
    outputs = model.bottleneck.core(model.core_inputs(encoded, labels))
    assert outputs.shape == (12 * (4 if place == "features" else 1), 3)
    assert torch.equal(model.decode(encoded, outputs), model(x, t, labels))


def test_at_the_place_features_no_path_leads_around_the_core():
    """What the encoder's deepest map holds reaches the decoder through the core's outputs alone."""
    model = opened(place="features")
    x, t, labels = batch()
    encoded = model.encode(x, t)
    outputs = model.bottleneck.core(model.core_inputs(encoded, labels))
    other = encoded._replace(features=torch.randn_like(encoded.features))
    assert torch.equal(model.decode(other, outputs), model.decode(encoded, outputs))


def test_each_position_of_the_features_is_a_row_in_reading_order():
    model = opened(place="features")
    x, t, labels = batch()
    encoded = model.encode(x, t)
    rows = model.core_inputs(encoded, labels).view(12, 2, 2, 3)
    changed = encoded.features.clone()
    changed[4, :, 0, 1] += 1.0
    differs = (model.core_inputs(encoded._replace(features=changed), labels).view(12, 2, 2, 3) - rows).abs().amax(-1)
    assert (differs > 1e-5).nonzero().tolist() == [[4, 0, 1]]
    features, _ = model.bottleneck.apply_outputs(encoded.features, encoded.embedding, torch.ones(48, 3))
    assert features.shape == encoded.features.shape


def test_interventions_nest_and_leave_nothing_behind():
    model = opened()
    x, t, labels = batch()
    before = model(x, t, labels)
    with intervened(model, lambda outputs: outputs + 1), intervened(model, lambda outputs: outputs * 3):
        inside = model(x, t, labels)
    encoded = model.encode(x, t)
    outputs = model.bottleneck.core(model.core_inputs(encoded, labels))
    torch.testing.assert_close(inside, model.decode(encoded, (outputs + 1) * 3))
    with pytest.raises(RuntimeError, match="stop"), intervened(model, torch.zeros_like):
        raise RuntimeError("stop")
    assert torch.equal(model(x, t, labels), before)


def test_an_intervention_keeps_the_shape_and_needs_a_core():
    x, t, labels = batch()
    model = opened()
    with intervened(model, lambda o: o[:, :1]), pytest.raises(ConfigError, match=r"shape \(12, 1\) of \(12, 3\)"):
        model(x, t, labels)
    with pytest.raises(ConfigError, match="no core"), intervened(opened("none", condition="none"), torch.zeros_like):
        pass


@pytest.mark.parametrize("core", ["quantum", "none"])
def test_an_unconditional_model_takes_no_labels(core):
    x, t, labels = batch()
    with pytest.raises(ConfigError, match="unconditional"):
        opened(core, condition="none")(x, t, labels)


def test_a_conditional_model_is_not_built_without_its_classes():
    config = build_config({"model": {"condition": "class"}})
    with pytest.raises(ConfigError, match="number of classes"):
        build_model(config, 1)
