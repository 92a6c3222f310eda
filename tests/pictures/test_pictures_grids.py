import numpy as np
import pytest
from PIL import Image

from qhybrid.errors import EvaluationError
from qhybrid.pictures.grids import image_grid, labelled_rows, titled_rows


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


def test_titled_rows_keep_their_images_and_end_early(tmp_path):
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 200, (n, 8, 8), dtype=np.uint8) for n in (5, 2))
    titled_rows([("three", first), ("a longer title", second)], tmp_path / "rows.png", 3)
    pixels = read(tmp_path / "rows.png")
    margin = pixels.shape[1] - (3 * 68 + 4)
    assert margin > 100  # as wide as the longer title
    assert pixels.shape[0] == 2 * 68 + 4
    assert (pixels[:, :margin] < 255).any()
    for row, images in enumerate((first[:3], second)):
        for column, image in enumerate(images):
            top, left = 4 + row * 68, margin + 4 + column * 68
            assert np.array_equal(pixels[top : top + 64 : 8, left : left + 64 : 8, 0], image)
    assert (pixels[72:136, margin + 4 + 2 * 68 :] == 255).all()
    with pytest.raises(EvaluationError, match="at least 1 row"):
        titled_rows([], tmp_path / "none.png", 3)


def test_heads_stand_above_the_columns_and_move_the_rows_down(tmp_path):
    images = np.random.default_rng(1).integers(0, 200, (4, 8, 8), dtype=np.uint8)
    labelled_rows([("one", images), ("two", images)], tmp_path / "plain.png")
    labelled_rows([("one", images), ("two", images)], tmp_path / "heads.png", ["7", "", "", "3"])
    plain, heads = read(tmp_path / "plain.png"), read(tmp_path / "heads.png")
    band = len(heads) - len(plain)
    assert np.array_equal(heads[band:], plain)
    dark = [(heads[:band, 4 + i * 100 : 100 + i * 100] < 200).any() for i in range(4)]
    assert dark == [True, False, False, True]
