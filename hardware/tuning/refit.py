"""The linear map behind the circuit, refitted to a device's outputs by least squares; nothing is executed for it.

The map `W z + b` was trained on the expectation values z that training saw. A device gives others, z_d: shrunk and
shifted, each observable in its own way, mixed a little among each other, and scattered by shots. The refitted map is

    argmin over W', b' of  mean |W' z_d + b' - (W z + b)|^2 + ridge |W' - W|^2

over the points that a run has measured. Of the two objectives that offer themselves this one is taken, and not the
denoising loss: it is linear in W', so that its minimum is unique and found at once; it needs no image, so that neither
training images are fitted twice nor test images seen; and where it is zero the network's function is the trained one,
whatever comes behind. Regression on z_d, which has errors of its own, gives the best linear prediction from values
measured with as many shots, which is what the map is for; it is not an estimate of the device's factors.

The strength of the ridge, which pulls towards the present map, is chosen by leave-one-out errors (generalized
cross-validation of scikit-learn's `RidgeCV`). Whether the refit is worth it is found on points that neither fit nor
strength have seen: it is refused where their error does not fall.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PARTS = 5
LEAST_POINTS = 2 * PARTS
# Parts of the mean variance of an output, times the number of points: from next to nothing to the present map.
_STRENGTHS = np.logspace(-5, 3, 17)


@dataclass(frozen=True)
class Refit:
    """A refitted map, and how it was judged.

    Attributes:
        weight: The map's matrix, `(n_channels, n_out)`.
        bias: The map's shift, `(n_channels,)`.
        record: JSON-able: `held`, `reason` (of a refusal), `points`, `outputs`, `ridge` (strength, in parts of the
            outputs' mean variance) and, of the map's values on points that the fit has not seen, the RMS error before
            and after, `rms_before` and `rms`, in parts of the standard deviation of the values that are wanted.
    """

    weight: Array
    bias: Array
    record: dict[str, Any]

    @property
    def held(self) -> bool:
        """Whether the error on held-out points falls."""
        return bool(self.record["held"])


def refit(given: Array, wanted: Array, weight: Array, bias: Array) -> Refit:
    """Refit a linear map to what a device gives; see the module.

    Args:
        given: Expectation values of the points as the device gives them, `(P, n_out)`.
        wanted: Values at the same points that the map was trained on, `(P, n_out)`.
        weight: The map's matrix, `(n_channels, n_out)`.
        bias: The map's shift, `(n_channels,)`.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict

    points, outputs = given.shape
    record: dict[str, Any] = {"held": False, "points": points, "outputs": outputs}
    if points < LEAST_POINTS:
        few = f"{points} points are too few to fit {outputs + 1} numbers per channel and test them: take {LEAST_POINTS}"
        return Refit(weight, bias, {**record, "reason": few})
    # What the present map lacks; a change of it is fitted, so that the ridge pulls towards no change.
    missing = (wanted - given) @ weight.T
    scale = float(np.mean(given.var(axis=0))) * points
    spread = float(np.sqrt(np.mean((wanted @ weight.T).var(axis=0))))
    if not scale or not spread:
        idle = "all points are alike" if weight.any() else "it ignores the circuit (all its weights are 0)"
        return Refit(weight, bias, {**record, "reason": idle})
    model = RidgeCV(alphas=scale * _STRENGTHS)
    parts = KFold(PARTS, shuffle=True, random_state=0)
    found = cross_val_predict(model, given, missing, cv=parts)
    before, after = _rms(missing), _rms(missing - found)
    reason = None if after < before else "the error on held-out points does not fall"
    model.fit(given, missing)
    return Refit(
        weight + model.coef_,
        bias + model.intercept_,
        {
            **record,
            "held": reason is None,
            "reason": reason,
            "ridge": float(model.alpha_) / scale,
            "rms_before": before / spread,
            "rms": after / spread,
        },
    )


def refit_words(found: Mapping[str, Any]) -> str:
    """`Refit.record` in one line for people."""
    if found.get("rms") is None:
        return f"refit refused, the map stays as it is: {found['reason']}"
    test = (
        f"error of the map {found['rms_before']:.3f} -> {found['rms']:.3f} of its spread on held-out points "
        f"({found['points']} points)"
    )
    if not found["held"]:
        return f"refit refused, the map stays as it is: {found['reason']} ({test})"
    return f"linear map refitted: {test}"


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
