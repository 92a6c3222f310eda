"""The circuit in diffusers' own U-Net: it trains, every part of it, and the label acts through the circuit alone.

In a process of its own: diffusers decides at its first import whether torchvision is there.
"""

import subprocess
import sys

CHECK = """
import importlib.util, sys
try:
    import torchvision
except Exception:
    # Beside a CPU-only torch its wheel cannot be imported, and diffusers must not try: as if it were not installed.
    sys.modules["torchvision"] = None
import torch

torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location("diffusers_unet2d", sys.argv[1])
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)

torch.manual_seed(0)
unet = example.build()
bottleneck = unet.mid_block.bottleneck
before = {name: value.detach().clone() for name, value in bottleneck.named_parameters()}
first, last = example.train(unet, 1), example.train(unet, 60)
assert last < 0.6 * first, (first, last)
for name, value in bottleneck.named_parameters():
    assert not torch.equal(value, before[name]), name

x, t = torch.randn(2, 1, 8, 8), torch.tensor([10, 10])

def seen(label):
    unet.mid_block.labels = torch.tensor([label, label])
    with torch.no_grad():
        return unet(x, t).sample

assert not torch.allclose(seen(3), seen(8), atol=1e-4)
# With the circuit's outputs at zero nothing is left of the label.
bottleneck.core.forward = lambda angles: torch.zeros(len(angles), 4)
assert torch.equal(seen(3), seen(8))
print("all seen")
"""


def test_the_bottleneck_trains_within_diffusers_unet(root):
    found = subprocess.run(
        [sys.executable, "-c", CHECK, str(root / "notebooks" / "diffusers_unet2d.py")], capture_output=True, text=True
    )
    assert found.stdout.strip() == "all seen", found.stderr
