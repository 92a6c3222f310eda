"""Are generated digits recognizable to a judge that shares nothing with the evaluation? A support vector machine
trained on the real digits tells its mean top probability and the classes it sees.

    python tests/benchmarks/digits_svm.py RUN
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.svm import SVC

from qhybrid.config import DataConfig
from qhybrid.data import load_data
from qhybrid.rundir import RunDirectory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run directory of digits with samples/images.npz")
    run = RunDirectory.open(parser.parse_args().run)
    data = load_data(DataConfig(name="digits"))
    judge = CalibratedClassifierCV(SVC(C=10), ensemble=False).fit(_flatten(data.train), data.train_labels)
    with np.load(run.images_file) as file:
        generated = file["images"]
    for name, images in (("real test", data.test), ("generated", generated)):
        probabilities = judge.predict_proba(_flatten(images))
        counts = np.bincount(probabilities.argmax(axis=1), minlength=10)
        print(
            f"{name}: n = {len(images)}, mean top probability {probabilities.max(axis=1).mean():.3f}, "
            f"{np.count_nonzero(counts)} of 10 classes, counts {counts.tolist()}"
        )
    print(f"accuracy of the judge on real test images: {judge.score(_flatten(data.test), data.test_labels):.3f}")


def _flatten(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255


if __name__ == "__main__":
    main()
