"""Image grids as PNG: pixels stay squares, whatever the size of the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from qhybrid.errors import EvaluationError
from qhybrid.files import atomic_path

Images = NDArray[np.uint8]

_CELL = 64  # smallest side of an image in a grid, in screen pixels
_LARGE_CELL = 96  # the same in rows to be compared
_GAP = 4
_FRAME_MS, _LAST_FRAME_MS = 100, 2000
_BACKGROUND = 255
_INK = (70, 76, 88)


def image_grid(images: Images, path: str | Path, columns: int | None = None) -> None:
    """Write images row by row as one PNG, enlarged by a whole factor without smoothing.

    Args:
        images: Images to be shown, uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3).
        path: The PNG file; written atomically.
        columns: Images per row; by default as square as possible.

    Raises:
        EvaluationError: No images, or an array of another shape or type.
    """
    rgb = _as_rgb(images)
    if columns is not None and columns < 1:
        raise EvaluationError(f"columns is {columns}: a grid needs at least 1")
    _save(Image.fromarray(_tile(rgb, columns or int(np.ceil(np.sqrt(len(rgb)))))), path)


def animated_grid(frames: Sequence[Images], path: str | Path, columns: int) -> None:
    """Write grids one after the other as an animated PNG that stays for two seconds on the last one and begins anew.

    A reader that knows no animated PNG shows the last grid.

    Args:
        frames: Images of each frame, as for `image_grid`; all of one shape.
        path: The PNG file; written atomically.
        columns: Images per row, at least 1.

    Raises:
        EvaluationError: No frames, or an array that is not uint8 images.
    """
    if not frames:
        raise EvaluationError("an animation needs at least 1 frame")
    grids = [Image.fromarray(_tile(_as_rgb(images), columns)) for images in frames]
    times = [_FRAME_MS] * (len(grids) - 1) + [_LAST_FRAME_MS]
    with atomic_path(Path(path)) as temporary:
        # The first picture is not part of the animation: it stands where none can be shown.
        grids[-1].save(
            temporary, format="PNG", save_all=True, default_image=True, append_images=grids, duration=times, loop=0
        )


def labelled_rows(rows: Sequence[tuple[str, Images]], path: str | Path, heads: Sequence[str] = ()) -> None:
    """Write several rows of images under each other, each with a label above it: image i of all rows belongs together.

    Args:
        rows: Pairs of label and uint8 images; every row of the same length and shape.
        path: The PNG file; written atomically.
        heads: A word for each column, written above the first row's images; none by default.

    Raises:
        EvaluationError: Rows of different lengths, or an array that is not uint8 images.
    """
    strips = [(label, _tile(_as_rgb(images), len(images), _LARGE_CELL)) for label, images in rows]
    if len({strip.shape for _, strip in strips}) != 1:
        raise EvaluationError(f"rows of a figure differ in shape: {[strip.shape for _, strip in strips]}")
    height, width = strips[0][1].shape[:2]
    font = ImageFont.load_default(size=20)
    band = 34
    start = band if heads else 0
    canvas = Image.new("RGB", (width, start + len(strips) * (height + band)), (_BACKGROUND,) * 3)
    draw = ImageDraw.Draw(canvas)
    step = (width - _GAP) / max(1, len(heads))
    for index, head in enumerate(heads):
        draw.text((_GAP + (index + 0.5) * step, start // 2), head, fill=_INK, font=font, anchor="mm")
    for index, (label, strip) in enumerate(strips):
        top = start + index * (height + band)
        draw.text((_GAP, top + 5), label, fill=_INK, font=font)
        canvas.paste(Image.fromarray(strip), (0, top + band))
    _save(canvas, path)


def titled_rows(rows: Sequence[tuple[str, Images]], path: str | Path, columns: int) -> None:
    """Write rows of images with a title to the left of each, e.g. a row per class.

    Args:
        rows: Pairs of title and uint8 images of one size; images beyond `columns` are left out, shorter rows end early.
        path: The PNG file; written atomically.
        columns: Most images in a row, at least 1.

    Raises:
        EvaluationError: No rows, a row without images, or an array that is not uint8 images.
    """
    if not rows:
        raise EvaluationError("a picture of rows needs at least 1 row")
    width = max(1, min(columns, max(len(images) for _, images in rows)))
    strips = []
    for _, images in rows:
        cells = _as_rgb(images[:width])
        strips.append(
            _tile(np.concatenate([cells, np.full((width - len(cells), *cells.shape[1:]), 255, np.uint8)]), width)
        )
    font = ImageFont.load_default(size=22)
    margin = 2 * _GAP + int(max(font.getlength(title) for title, _ in rows))
    height = strips[0].shape[0] - _GAP
    canvas = Image.new("RGB", (margin + strips[0].shape[1], len(rows) * height + _GAP), (_BACKGROUND,) * 3)
    draw = ImageDraw.Draw(canvas)
    for index, ((title, _), strip) in enumerate(zip(rows, strips, strict=True)):
        draw.text((_GAP, index * height + strip.shape[0] // 2), title, fill=_INK, font=font, anchor="lm")
        canvas.paste(Image.fromarray(strip), (margin, index * height))
    _save(canvas, path)


def pixel_rows(rows: Sequence[Images], path: str | Path) -> None:
    """Write rows of images under each other with a pixel between them, nothing enlarged: small enough to be stored.

    Args:
        rows: uint8 images; every row of the same length and shape.
        path: The PNG file; written atomically.

    Raises:
        EvaluationError: An array that is not uint8 images, or no images.
    """
    cells = np.stack([_as_rgb(images) for images in rows])
    count, columns, height, width, _ = cells.shape
    canvas = np.full((count * (height + 1) - 1, columns * (width + 1) - 1, 3), _BACKGROUND, np.uint8)
    for row, column in np.ndindex(count, columns):
        top, left = row * (height + 1), column * (width + 1)
        canvas[top : top + height, left : left + width] = cells[row, column]
    _save(Image.fromarray(canvas), path)


def _as_rgb(images: Images) -> Images:
    """Any accepted layout as (N, H, W, 3)."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise EvaluationError(
            f"images have shape {images.shape} and type {images.dtype}: expected uint8 (N, H, W) or (N, H, W, 1 or 3)"
        )
    if not images.size:
        raise EvaluationError(f"images have shape {images.shape}: a picture needs at least 1 image")
    if images.ndim == 3:
        images = images[..., None]
    return np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images


def _tile(rgb: Images, columns: int, cell: int = _CELL) -> Images:
    """(N, H, W, 3) laid out in rows of `columns`, with thin gaps and unused places left blank."""
    scale = max(1, -(-cell // rgb.shape[1]))
    cells = rgb.repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width, _ = cells.shape
    rows = -(-count // columns)
    canvas = np.full((rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), _BACKGROUND, np.uint8)
    for index, image in enumerate(cells):
        top = _GAP + index // columns * (height + _GAP)
        left = _GAP + index % columns * (width + _GAP)
        canvas[top : top + height, left : left + width] = image
    return canvas


def _save(image: Image.Image, path: str | Path) -> None:
    with atomic_path(Path(path)) as temporary:
        image.save(temporary, format="PNG", optimize=True)
