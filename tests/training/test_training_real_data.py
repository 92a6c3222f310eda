"""The configurations of the real data sets train and sample where the files are at hand."""

import json

import numpy as np
import pytest

from qhybrid.config import load_config
from qhybrid.sampling.generate import sample
from qhybrid.training.loop import train


@pytest.mark.parametrize(
    ("name", "folder", "shape"),
    [
        ("mnist_low_data", "mnist", (28, 28)),
        ("pneumonia", "medmnist", (28, 28)),
        ("retina", "medmnist", (28, 28, 3)),
        ("pathmnist_subset", "medmnist", (28, 28, 3)),
    ],
)
def test_configurations_of_real_data_train_and_sample(root, tmp_path, name, folder, shape):
    data_root = root.parent / "shared" / "data"
    if not (data_root / folder).is_dir():
        pytest.skip(f"the {folder} files of shared/data are not beside this checkout")
    config = load_config(
        root / "configs" / f"{name}.yaml",
        [
            f"data.root={data_root}",
            "training.steps=2",
            "training.batch_size=8",
            "sampling.images=10",
            "sampling.steps=2",
        ],
    )
    run = train(config, tmp_path / "run")
    images = sample(run)
    assert images.shape == (10, *shape)
    assert images.dtype == np.uint8
    meta = json.loads((run.checkpoints / "step-2" / "meta.json").read_text())
    assert meta["image_shape"] == [3 if len(shape) == 3 else 1, 28, 28]
