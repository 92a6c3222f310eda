"""Five SPSA steps of a layer on a device, as a user writes them: `python train_on_device.py FOLDER`.

Prints one line of JSON: the weights, and what the estimator has taken so far.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

import hardware
from qhybrid.quantum import QuantumLayer, build_qnn, build_spec


def main(folder: Path) -> None:
    """Train, and print what came of it."""
    spec = build_spec("ry_rz_ladder", 2, 1)
    estimator = hardware.device_estimator(spec, "ibm_manila", folder=folder, budget=60.0, shots=64)
    layer = QuantumLayer(build_qnn(spec, estimator), seed=1, gradient="spsa")
    x = torch.tensor([[0.3, -0.5], [1.0, 0.2]])
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.3)
    for _ in range(5):
        optimizer.zero_grad()
        ((layer(x) - 0.2) ** 2).mean().backward()
        optimizer.step()
    print(json.dumps({"weights": layer.weight.tolist(), **asdict(estimator.bill())}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
