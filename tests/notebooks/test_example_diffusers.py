"""The circuit in diffusers' own U-Net: it trains, every part of it, and the label acts through the circuit alone."""

import importlib.util
import sys

import pytest
import torch


@pytest.fixture(scope="module")
def example(root):
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        # Beside a CPU-only torch its wheel cannot be imported, and diffusers must not try: as if it were not installed.
        sys.modules["torchvision"] = None
    spec = importlib.util.spec_from_file_location("diffusers_unet2d", root / "notebooks" / "diffusers_unet2d.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bottleneck_trains_within_diffusers_unet(example):
    torch.manual_seed(0)
    unet = example.build()
    bottleneck = unet.mid_block.bottleneck
    before = {name: value.detach().clone() for name, value in bottleneck.named_parameters()}
    first, last = example.train(unet, 1), example.train(unet, 60)
    assert last < 0.6 * first
    for name, value in bottleneck.named_parameters():
        assert not torch.equal(value, before[name]), name
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([10, 10])
    with torch.no_grad():
        unet.mid_block.labels = torch.tensor([3, 3])
        three = unet(x, t).sample
        unet.mid_block.labels = torch.tensor([8, 8])
        eight = unet(x, t).sample
        assert not torch.allclose(three, eight, atol=1e-4)
        # With the circuit's outputs at zero nothing is left of the label.
        bottleneck.core.forward = lambda angles: torch.zeros(len(angles), 4)
        unet.mid_block.labels = torch.tensor([3, 3])
        without = unet(x, t).sample
        unet.mid_block.labels = torch.tensor([8, 8])
        assert torch.equal(unet(x, t).sample, without)
