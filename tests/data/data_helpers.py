"""Content of small data files."""

from __future__ import annotations

import gzip
import hashlib
import struct

import numpy as np

Arrays = dict[str, np.ndarray]


def idx_bytes(array: np.ndarray) -> bytes:
    """An array of bytes in the idx format."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def compress(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)
