"""The data sets by name, and the one way to load any of them.

A registered data set is a function `(options, config: DataConfig) -> ImageData`; see `qhybrid.registry`. It loads the
whole set; which classes are kept and which training images are drawn is the same for all sets and done here.
"""

from __future__ import annotations

import contextlib

from qhybrid.config import DataConfig
from qhybrid.data.digits import load_digits
from qhybrid.data.folder import FolderOptions, load_folder
from qhybrid.data.idx import IDX_SETS, load_idx_set
from qhybrid.data.images import ImageData
from qhybrid.data.medmnist import is_volumetric, load_medmnist, medmnist_info
from qhybrid.data.npz import load_npz
from qhybrid.data.subset import select
from qhybrid.errors import DataError
from qhybrid.registry import DATA_SETS, NoOptions, register_data


def dataset_names() -> list[str]:
    """Every name that `data.name` can have, those of other installed packages included."""
    return list(DATA_SETS.packages())


def load_data(config: DataConfig) -> ImageData:
    """Load a data set, keep the classes that the configuration names and draw the training subset.

    The data folder is `config.root`, else the environment's `QHYBRID_DATA`, else the user's cache folder. A file that
    is not there is downloaded if `config.download` is set. Checksums are verified on every load.

    Args:
        config: Which set and which part of it.

    Raises:
        ConfigError: Nobody registers the set.
        DataError: The set is missing, altered or too small; the class or size does not exist; or what a package has
            registered loads no `ImageData`.
    """
    entry = DATA_SETS.find(config.name)
    loaded = entry.builder(config.options, config)
    if not isinstance(loaded, ImageData):
        raise DataError(
            f"data set `{entry.name}` of package `{entry.package}` loads a {type(loaded).__name__}, not an ImageData"
        )
    return select(loaded, config.classes, config.n_train, config.subset_seed)


@register_data("digits")
def _digits(_options: NoOptions, config: DataConfig) -> ImageData:
    return load_digits(config)


def _idx(_options: NoOptions, config: DataConfig) -> ImageData:
    return load_idx_set(config)


def _medmnist(_options: NoOptions, config: DataConfig) -> ImageData:
    return load_medmnist(config)


for _name in IDX_SETS:
    register_data(_name)(_idx)
# Without the package the other sets are there all the same.
with contextlib.suppress(DataError):
    for _name in medmnist_info():
        if is_volumetric(_name):
            DATA_SETS.exclude(_name, "holds volumes (N, D, H, W); only two-dimensional sets are supported")
        else:
            register_data(_name)(_medmnist)


@register_data("npz")
def _npz(_options: NoOptions, config: DataConfig) -> ImageData:
    return load_npz(config)


register_data("folder", section=FolderOptions)(load_folder)
