import numpy as np
import pytest
from PIL import Image

from qhybrid.errors import EvaluationError
from qhybrid.pictures.grids import image_grid, labelled_rows


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_grid_enlarges_pixels_to_squares_and_keeps_order(tmp_path):
    images = np.zeros((3, 8, 8), np.uint8)
    images[2, 0, 1] = 200
    image_grid(images, tmp_path / "grid.png", columns=2)
    pixels = read(tmp_path / "grid.png")
    assert pixels.shape == (2 * 68 + 4, 2 * 68 + 4, 3)
    # Third image: second row, first column; its pixel (0, 1) is an 8 x 8 block of 200, without smoothing.
    corner = pixels[72:136, 4:68, 0]
    assert (corner[:8, 8:16] == 200).all()
    assert corner.sum() == 200 * 64
    assert (pixels[72:136, 72:136] == 255).all()


def test_colour_images_keep_their_colours(tmp_path):
    images = np.zeros((1, 64, 64, 3), np.uint8)
    images[..., 1] = 9
    image_grid(images, tmp_path / "grid.png")
    assert tuple(read(tmp_path / "grid.png")[10, 10]) == (0, 9, 0)


def test_labelled_rows_stack_strips(tmp_path):
    one = np.full((5, 8, 8), 10, np.uint8)
    labelled_rows([("generated", one), ("training", one)], tmp_path / "rows.png")
    assert read(tmp_path / "rows.png").shape == (2 * (104 + 34), 5 * 100 + 4, 3)
    with pytest.raises(EvaluationError, match="differ in shape"):
        labelled_rows([("a", one), ("b", one[:3])], tmp_path / "bad.png")


@pytest.mark.parametrize(
    "images", [np.zeros((0, 8, 8), np.uint8), np.zeros((2, 8, 8)), np.zeros((2, 8, 8, 4), np.uint8)]
)
def test_arrays_that_are_no_images_are_refused(images, tmp_path):
    with pytest.raises(EvaluationError, match="images have shape"):
        image_grid(images, tmp_path / "grid.png")
    assert not list(tmp_path.iterdir())
