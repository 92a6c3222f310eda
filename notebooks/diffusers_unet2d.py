"""The conditional bottleneck in the middle of diffusers' `UNet2DModel`: the label's only way in is the circuit."""

import torch
from diffusers import DDPMScheduler, UNet2DModel

from qhybrid.config import DataConfig
from qhybrid.data import load_data, to_tensor
from qhybrid.models.bottleneck import Bottleneck
from qhybrid.quantum import CompiledEstimator, QuantumLayer, build_qnn, build_spec


class QuantumMiddle(torch.nn.Module):
    """The U-Net's own middle block, then the bottleneck; `labels` (B,) are set before each call of the U-Net."""

    def __init__(self, middle, bottleneck):
        super().__init__()
        self.middle, self.bottleneck, self.labels = middle, bottleneck, None

    def forward(self, features, embedding):
        features = self.middle(features, embedding)
        outputs = self.bottleneck.core(self.bottleneck.inputs(features, embedding, self.labels))
        return self.bottleneck.apply_outputs(features, embedding, outputs)[0]


def build(classes=10, channels=(16, 32), qubits=4):
    blocks = {"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2, "norm_num_groups": 8}
    unet = UNet2DModel(8, 1, 1, block_out_channels=channels, layers_per_block=1, add_attention=False, **blocks)
    core = QuantumLayer(build_qnn(build_spec("ry_rz_ladder", qubits, num_layers=3), CompiledEstimator()))
    sizes = {"channels": channels[-1], "time_dim": 4 * channels[0], "classes": classes}
    unet.mid_block = QuantumMiddle(unet.mid_block, Bottleneck(core, qubits, qubits, sees=("class", "time"), **sizes))
    return unet


def train(unet, steps=200):
    data, scheduler = load_data(DataConfig()), DDPMScheduler(100)
    images, labels = to_tensor(data.train), torch.from_numpy(data.train_labels)
    optimizer = torch.optim.Adam(unet.parameters(), lr=2e-3)
    for _ in range(steps):
        rows, noise, t = torch.randint(len(images), (64,)), torch.randn(64, 1, 8, 8), torch.randint(100, (64,))
        unet.mid_block.labels = labels[rows]
        predicted = unet(scheduler.add_noise(images[rows], noise, t), t).sample
        loss = torch.nn.functional.mse_loss(predicted, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


if __name__ == "__main__":
    print("loss", train(build()))
