import pytest
import torch

from qhybrid.config import build_config
from qhybrid.errors import CircuitError, ConfigError
from qhybrid.models.build import build_model, check_trainable, parameter_counts

CORES = ("quantum", "quantum_frozen", "quantum_product", "published", "se", "se_frozen", "sine", "fourier", "none")
SMALL = [8, 16, 24]


def config(core="quantum", *, place="gate", condition="none", **quantum):
    return build_config(
        {
            "model": {
                "bottleneck": {"core": core, "place": place},
                "condition": condition,
                "channels": SMALL,
                "time_dim": 16,
            },
            "quantum": {"qubits": 3} | quantum,
        }
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 28])
@pytest.mark.parametrize("place", ["gate", "condition", "features"])
def test_the_output_has_the_shape_of_the_image(channels, size, place):
    model = build_model(config("se", place=place), channels)
    x = torch.randn(5, channels, size, size)
    assert model(x, torch.arange(5)).shape == x.shape


def test_cores_differ_by_their_own_parameters_alone():
    """The linear maps are the same; a core has as much of its own as the circuit, or a few numbers less."""
    counts = {core: parameter_counts(build_model(config(core), 1)) for core in CORES if core != "published"}
    linear = SMALL[-1] * 3 + 3 + 3 * SMALL[-1] + SMALL[-1]
    own = {core: count.get("circuit", count.get("core", 0)) for core, count in counts.items()}
    # 3 layers of RZ and RY on 3 qubits; as many Fourier amplitudes; a sine of 3 inputs and 3 phases.
    assert own == {
        "quantum": 18,
        "quantum_frozen": 0,
        "quantum_product": 18,
        "se": 0,
        "se_frozen": 0,
        "sine": 12,
        "fourier": 18,
        "none": 0,
    }
    for core, count in counts.items():
        assert count["unet"] == counts["none"]["unet"], core
        assert count.get("bottleneck", 0) == (0 if core == "none" else linear), core


def test_the_published_core_has_its_own_circuit():
    counts = parameter_counts(build_model(config("published"), 1))
    assert (counts["bottleneck"], counts["circuit"]) == (SMALL[-1] * 16 + 16 + 16 * SMALL[-1] + SMALL[-1], 48)


@pytest.mark.parametrize("condition", ["none", "class"])
@pytest.mark.parametrize("place", ["gate", "condition", "features"])
def test_all_cores_start_from_the_same_function(place, condition):
    x, t, labels = torch.randn(8, 1, 8, 8), torch.full((8,), 300), torch.arange(8)
    bare = place != "features" and condition == "none"
    cores = [core for core in CORES if core != "published" and (bare or core != "none")]
    models = {core: build_model(config(core, place=place, condition=condition), 1, classes=10) for core in cores}
    first = models["quantum"]
    shared = [name for name in first.state_dict() if not name.startswith("bottleneck.core.")]
    for model in models.values():
        # The head starts at zero and would hide any difference.
        torch.nn.init.ones_(model.head.weight)
    asked = labels if condition == "class" else None
    for core, model in models.items():
        for name in shared:
            if core != "none" or not name.startswith("bottleneck."):
                assert torch.equal(model.state_dict()[name], first.state_dict()[name]), (core, name)
        assert torch.equal(model(x, t, asked), first(x, t, asked)), core


def test_gate_and_condition_start_from_the_network_without_a_core():
    x, t = torch.randn(8, 1, 8, 8), torch.full((8,), 300)
    models = {place: build_model(config(place=place), 1) for place in ("gate", "condition")}
    models["none"] = build_model(config("none"), 1)
    for model in models.values():
        torch.nn.init.ones_(model.head.weight)
    assert models["none"](x, t).abs().max() > 0
    for place, model in models.items():
        assert torch.equal(model(x, t), models["none"](x, t)), place


def test_the_frozen_circuit_starts_where_the_trained_one_does_and_stays():
    trained, frozen = (
        build_model(config(core), 1).bottleneck.core.layer.weight for core in ("quantum", "quantum_frozen")
    )
    assert torch.equal(trained, frozen)
    assert (trained.requires_grad, frozen.requires_grad) == (True, False)


def test_seeds_decide_the_weights():
    for core in ("quantum", "sine", "fourier", "se_frozen"):
        first, again, other = (
            build_model(config(core).model_copy(update={"seed": seed}), 1).state_dict() for seed in (1, 1, 2)
        )
        assert all(torch.equal(first[name], again[name]) for name in first)
        own = [name for name in first if name.startswith("bottleneck.core.")]
        assert own
        for name in ["stem.conv.weight", *own]:
            assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize("core", ["quantum", "quantum_product", "sine", "fourier", "se"])
@pytest.mark.parametrize("place", ["gate", "condition", "features"])
def test_every_parameter_of_the_bottleneck_learns_at_every_place(core, place):
    model = build_model(config(core, place=place, condition="class"), 1, classes=4)
    torch.manual_seed(0)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.5)
    x, labels = torch.randn(64, 1, 8, 8), torch.arange(64) % 5 - 1
    (model(x, torch.arange(64) * 15, labels) * torch.randn(64, 1, 8, 8)).sum().backward()
    behind = [] if model.decoder_block is None else model.decoder_block.named_parameters()
    for name, parameter in [*model.bottleneck.named_parameters(), *behind]:
        # Group normalization takes out what a bias in front of it adds.
        if name != "first.conv.bias":
            assert parameter.grad is not None, name
            assert float(parameter.grad.abs().max()) > 1e-3, name
    for name, parameter in model.bottleneck.core.named_parameters():
        assert float(parameter.grad.abs().min()) > 1e-5, name
    # Of each class, and of no label.
    assert float(model.bottleneck.embed_class.weight.grad.abs().amax(1).min()) > 1e-3


@pytest.mark.parametrize("ansatz", ["ry_rz_ladder", "real_amplitudes", "reuploading"])
def test_every_parameter_and_the_input_of_the_quantum_arm_learn(ansatz):
    from qhybrid.data import load_data, to_tensor
    from qhybrid.diffusion.noise import GaussianNoise
    from qhybrid.diffusion.process import ForwardProcess
    from qhybrid.training.batches import Batches

    run = config(ansatz=ansatz)
    model = build_model(run, 1)
    process = ForwardProcess(run.diffusion)
    batches = Batches(to_tensor(load_data(run.data).train), 64, 1000, GaussianNoise(), 0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    # An identity gate passes no gradient at step 0; a few steps open it.
    largest = {name: torch.zeros_like(parameter) for name, parameter in model.bottleneck.named_parameters()}
    for step in range(80):
        optimizer.zero_grad()
        batch = batches[step]
        process.loss(model, batch.images, batch.epsilon, batch.t).backward()
        if step == 0:
            assert float(model.bottleneck.core.layer.weight.grad.abs().max()) == 0
        if step >= 60:
            for name, parameter in model.bottleneck.named_parameters():
                largest[name] = torch.maximum(largest[name], parameter.grad.abs())
        optimizer.step()
    # The loss is a mean over pixels; per image, as a likelihood is counted, it is their sum.
    pixels = 8 * 8
    for name, gradient in largest.items():
        assert float(gradient.min()) * pixels > 1e-4, name


def test_the_published_arm_neither_learns_nor_passes_gradient():
    """The known fault of arXiv 2504.00034: outputs independent of the weights, input detached from the graph."""
    bottleneck = build_model(config("published"), 1).bottleneck
    with torch.no_grad():
        bottleneck.excite.weight.normal_()
    features = torch.randn(8, SMALL[-1], 2, 2, requires_grad=True)
    embedding = torch.randn(8, 16)

    def outputs():
        return bottleneck.core(bottleneck.inputs(features, embedding))

    before = outputs()
    bottleneck.excite(before).square().sum().backward()
    assert bottleneck.squeeze.weight.grad is None
    assert features.grad is None
    assert float(bottleneck.core.layer.weight.grad.abs().max()) < 1e-5
    with torch.no_grad():
        bottleneck.core.layer.weight.add_(1.0)
    torch.testing.assert_close(outputs(), before, rtol=0, atol=1e-4)


def test_dead_parameters_are_refused_unless_allowed():
    with pytest.raises(ConfigError, match=r"48 of 48 weights can never learn.*allow_dead_parameters"):
        check_trainable(config("published"))
    check_trainable(config("published", allow_dead_parameters=True))
    for ansatz in ("ry_rz_ladder", "real_amplitudes", "reuploading"):
        for core in ("quantum", "quantum_product", "quantum_frozen"):
            check_trainable(config(core, ansatz=ansatz))


def test_forty_qubits_are_refused_with_the_memory_they_would_take():
    with pytest.raises(CircuitError, match=r"40 qubits.*512 TiB"):
        build_model(config(qubits=40), 1)
