import pytest
import torch

from qhybrid.config import build_config
from qhybrid.errors import CircuitError, ConfigError
from qhybrid.models.bottleneck import QuantumGate
from qhybrid.models.build import build_model, check_trainable, parameter_counts

ARMS = ("plain", "se", "quantum", "published")
SMALL = [8, 16, 24]


def config(arm="quantum", **quantum):
    return build_config(
        {"model": {"bottleneck": arm, "channels": SMALL, "time_dim": 16}, "quantum": {"qubits": 3} | quantum}
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 28])
def test_the_output_has_the_shape_of_the_image(channels, size):
    model = build_model(config("se"), channels)
    x = torch.randn(5, channels, size, size)
    assert model(x, torch.arange(5)).shape == x.shape


def test_se_and_quantum_differ_by_the_circuits_weights_alone():
    se, quantum = (parameter_counts(build_model(config(arm), 1)) for arm in ("se", "quantum"))
    assert quantum["circuit"] == 18  # 3 layers of RZ and RY on 3 qubits
    assert sum(quantum.values()) - sum(se.values()) == quantum["circuit"]
    assert quantum["unet"] == se["unet"]


def test_all_arms_start_from_the_same_function():
    x, t = torch.randn(8, 1, 8, 8), torch.full((8,), 300)
    models = {arm: build_model(config(arm), 1) for arm in ARMS}
    shared = models["plain"].state_dict()
    for arm, model in models.items():
        for name, value in shared.items():
            assert torch.equal(model.state_dict()[name], value), (arm, name)
        gate = model.bottleneck(torch.randn(8, SMALL[-1]))
        assert torch.equal(gate, torch.ones(8, SMALL[-1])), arm
        assert torch.equal(model(x, t), models["plain"](x, t)), arm


def test_seeds_decide_the_weights():
    first, again, other = (
        build_model(config().model_copy(update={"seed": seed}), 1).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.conv.weight"], other["stem.conv.weight"])
    assert not torch.equal(first["bottleneck.layer.weight"], other["bottleneck.layer.weight"])


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
            assert float(model.bottleneck.layer.weight.grad.abs().max()) == 0
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
    model = build_model(config("published"), 1)
    with torch.no_grad():
        model.bottleneck.excite.weight.normal_()
    pooled = torch.randn(8, SMALL[-1], requires_grad=True)
    before = model.bottleneck(pooled)
    before.square().sum().backward()
    assert model.bottleneck.squeeze.weight.grad is None
    assert pooled.grad is None
    assert float(model.bottleneck.layer.weight.grad.abs().max()) < 1e-5
    with torch.no_grad():
        model.bottleneck.layer.weight.add_(1.0)
    torch.testing.assert_close(model.bottleneck(pooled), before, rtol=0, atol=1e-4)


def test_dead_parameters_are_refused_unless_allowed():
    with pytest.raises(ConfigError, match=r"48 of 48 weights can never learn.*allow_dead_parameters"):
        check_trainable(config("published"))
    check_trainable(config("published", allow_dead_parameters=True))
    for ansatz in ("ry_rz_ladder", "real_amplitudes", "reuploading"):
        check_trainable(config(ansatz=ansatz))


def test_forty_qubits_are_refused_with_the_memory_they_would_take():
    with pytest.raises(CircuitError, match=r"40 qubits.*512 TiB"):
        build_model(config(qubits=40), 1)


def test_expectation_values_can_come_from_elsewhere():
    gate = build_model(config(), 1).bottleneck
    assert isinstance(gate, QuantumGate)
    with torch.no_grad():
        gate.excite.weight.normal_()
    pooled = torch.randn(4, SMALL[-1])
    here = gate(pooled)
    seen = []

    def elsewhere(angles):
        seen.append(angles)
        return gate.layer(angles)

    with gate.evaluated_by(elsewhere):
        there = gate(pooled)
    assert torch.equal(here, there)
    assert torch.equal(seen[0], gate.angles(pooled))
    names = set(gate.state_dict())
    with gate.evaluated_by(gate.layer), gate.evaluated_by(lambda angles: torch.zeros(4, 3)):
        assert set(gate.state_dict()) == names
        assert torch.equal(gate(pooled), torch.ones(4, SMALL[-1]))
    assert torch.equal(gate(pooled), here)
