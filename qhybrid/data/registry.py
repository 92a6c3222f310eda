"""The data sets by name, and the one way to load any of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from qhybrid.config import DataConfig
from qhybrid.data.digits import load_digits
from qhybrid.data.idx import IDX_SETS, load_idx_set
from qhybrid.data.images import ImageData
from qhybrid.data.medmnist import is_volumetric, load_medmnist, medmnist_names
from qhybrid.data.npz import load_npz
from qhybrid.data.subset import select
from qhybrid.errors import DataError


def dataset_names() -> list[str]:
    """Every name that `data.name` can have."""
    return ["digits", *IDX_SETS, *medmnist_names(), "npz"]


def load_data(config: DataConfig) -> ImageData:
    """Load a data set, keep the classes that the configuration names and draw the training subset.

    The data folder is `config.root`, else the environment's `QHYBRID_DATA`, else the user's cache folder. A file that
    is not there is downloaded if `config.download` is set. Checksums are verified on every load.

    Raises:
        DataError: The set is unknown, missing, altered or too small; or the class or size does not exist.
    """
    return select(_loader(config.name)(config), config.classes, config.n_train, config.subset_seed)


def _loader(name: str) -> Callable[[DataConfig], ImageData]:
    if name == "digits":
        return load_digits
    if name in IDX_SETS:
        return load_idx_set
    if name == "npz":
        return load_npz
    if name in medmnist_names():
        return load_medmnist
    if is_volumetric(name):
        raise DataError(f"`data.name: {name}` holds volumes (N, D, H, W); only two-dimensional sets are supported")
    names = dataset_names()
    close = difflib.get_close_matches(name.lower(), names, n=1)
    hint = f", did you mean `{close[0]}`?" if close else ";"
    raise DataError(f"`data.name: {name}` is unknown{hint} known are {', '.join(names)}")
