"""Data sets: registry, checked downloads, class filters, seeded subsets, conversion to and from tensors."""

from qhybrid.data.images import ImageData, to_tensor, to_uint8
from qhybrid.data.registry import dataset_names, load_data

__all__ = ["ImageData", "dataset_names", "load_data", "to_tensor", "to_uint8"]
