"""How many generated images are copies of training images, and what KID is without them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qhybrid.config import EvaluationConfig
from qhybrid.data import ImageData
from qhybrid.errors import EvaluationError
from qhybrid.evaluation.intervals import CONFIDENCE, wilson_interval
from qhybrid.evaluation.memorisation import are_copies
from qhybrid.evaluation.scores import kid_score
from qhybrid.seeds import evaluation_generator

Floats = NDArray[np.float64]
Images = NDArray[np.uint8]

_FEWEST = 10


def copy_scores(generated: Images, x: Floats, y: Floats, data: ImageData, config: EvaluationConfig) -> dict[str, Any]:
    """The entries `copies`, the share of copies, and `kid_without_copies`, KID of all other images.

    A model that copies its training images has a good KID, the better the fewer it was trained on. What is left
    without its copies says what it has learned beside them.

    Args:
        generated: Generated images, uint8 `(N, H, W, C)`.
        x: Features of the generated images, `(N, D)`.
        y: Features of the real images, `(M, D)`.
        data: The data set, whose training images may have been copied, and whose test images are the floor.
        config: Subsets and seed.
    """
    common: dict[str, Any] = {"seed": config.seed, "n_generated": len(generated), "n_real": len(y)}
    try:
        copied, real = are_copies(generated, data.train), are_copies(data.test, data.train)
    except EvaluationError as error:
        missing = {"value": None, "interval": None, "reason": str(error), **common, "floor": None}
        return {"copies": missing, "kid_without_copies": dict(missing)}
    share, floor = float(copied.mean()), float(real.mean())
    copies = {
        "value": share,
        "interval": list(wilson_interval(share, len(generated))),
        "confidence": CONFIDENCE,
        "interval_method": "Wilson's score interval",
        **common,
        "n_train": len(data.train),
        "floor": {
            "value": floor,
            "interval": list(wilson_interval(floor, len(real))),
            "n_real": len(real),
            "method": "the real test images in place of generated ones",
        },
    }
    left = x[~copied]
    if len(left) < _FEWEST:
        reason = f"{len(left)} of {len(generated)} images are no copies, at least {_FEWEST} are needed"
        missing = {"value": None, "interval": None, "reason": reason, **common, "floor": None}
        return {"copies": copies, "kid_without_copies": missing | {"n_generated": len(left)}}
    # Without copies the same subsets are drawn as for KID itself: the two entries are equal.
    kid = kid_score(left, y, config, evaluation_generator(config.seed, "distances"))
    return {"copies": copies, "kid_without_copies": kid}
