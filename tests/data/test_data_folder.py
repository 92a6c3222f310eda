"""Image files in folders as a data set."""

import json

import numpy as np
import pytest
from PIL import Image

from qhybrid.config import DataConfig, build_config
from qhybrid.data import load_data
from qhybrid.errors import ConfigError, DataError, RunDirectoryError
from qhybrid.rundir import RunDirectory


@pytest.fixture
def picture(rng):
    """Write a random picture; returns its pixels."""

    def write(path, size=(12, 12), mode="L", **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = size[::-1] if mode == "L" else (*size[::-1], len(mode))
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels, mode=mode if mode == "CMYK" else None).save(path, **options)
        return pixels

    return write


@pytest.fixture
def two_classes(tmp_path, picture):
    root = tmp_path / "scans"
    for index in range(10):
        picture(root / "healthy" / f"{index}.png")
        picture(root / "ill" / f"{index}.png")
    return root


def load(root, **options):
    return load_data(build_config({"data": {"name": "folder", "path": str(root), **options}}).data)


def test_subfolders_are_classes_and_the_split_is_seeded(two_classes):
    data = load(two_classes)
    assert data.class_names == ("healthy", "ill")
    assert (len(data.train), len(data.val), len(data.test)) == (14, 2, 4)
    assert np.bincount(data.test_labels).tolist() == [2, 2]
    # Every file once, with its own label.
    files = {
        np.asarray(Image.open(path)).tobytes(): int(path.parent.name == "ill") for path in two_classes.rglob("*.png")
    }
    found = {
        image.tobytes(): int(label)
        for split in ("train", "val", "test")
        for image, label in zip(getattr(data, split), getattr(data, f"{split}_labels"), strict=True)
    }
    assert found == files
    np.testing.assert_array_equal(load(two_classes).test, data.test)
    assert not np.array_equal(load(two_classes, split_seed=1).test, data.test)


def test_split_folders_are_taken_as_they_are(tmp_path, picture):
    counts = {"train": 5, "val": 1, "test": 3}
    expected = {}
    for split, count in counts.items():
        for name in ("9", "10"):
            expected[split, name] = [picture(tmp_path / split / name / f"{index}.png") for index in range(count)]
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "train" / "9" / "Thumbs.db").touch()
    data = load(tmp_path)
    assert data.class_names == ("9", "10")
    for split in counts:
        np.testing.assert_array_equal(getattr(data, split)[..., 0], expected[split, "9"] + expected[split, "10"])


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_colour_and_grey(tmp_path, picture, suffix):
    for index in range(4):
        picture(tmp_path / "a" / f"{index}.{suffix}", mode="RGB")
    assert load(tmp_path, channels=3).train.shape[1:] == (12, 12, 3)
    grey = load(tmp_path)
    assert grey.train.shape[1:] == (12, 12, 1)
    if suffix == "png":
        files = [np.asarray(Image.open(path), dtype=float) for path in (tmp_path / "a").iterdir()]
        # ITU-R 601-2, up to rounding.
        luma = {np.rint(file @ [0.299, 0.587, 0.114]).astype(int).sum() for file in files}
        assert all(min(abs(int(image.sum()) - total) for total in luma) <= 144 for image in grey.train)


def test_images_are_cropped_and_resized_and_the_run_says_so(tmp_path):
    root = tmp_path / "a"
    for index, (width, height) in enumerate([(40, 20), (20, 40), (16, 16), (100, 60)]):
        # Black with a white centred square of half the shorter side: so it stays in the middle, half as wide.
        side = min(width, height)
        pixels = np.zeros((height, width), np.uint8)
        top, left = (height - side // 2) // 2, (width - side // 2) // 2
        pixels[top : top + side // 2, left : left + side // 2] = 255
        (root / "c").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / "c" / f"{index}.png")
    data = load(root, resize=16)
    for image in np.concatenate([data.train, data.val, data.test])[..., 0]:
        assert image.shape == (16, 16)
        assert image[5:11, 5:11].min() > 200
        assert max(image[:2].max(), image[-2:].max(), image[:, :2].max(), image[:, -2:].max()) < 50
    note = data.input_file.note
    for part in ("4 image files of 16x16 to 100x60 pixels", "cropped", "resized to 16x16", "grey"):
        assert part in note
    run = RunDirectory.create(tmp_path / "run", build_config({}), inputs={"data": data.input_file})
    stored = json.loads(run.meta_file.read_text())["inputs"]["data"]
    assert stored == {"path": str(root), "sha256": data.input_file.sha256, "note": note}


def test_a_changed_image_is_another_data_set(two_classes, tmp_path, picture):
    data = load(two_classes)
    config = build_config({"data": {"name": "folder", "path": str(two_classes)}})
    run = RunDirectory.create(tmp_path / "run", config, inputs={"data": data.input_file})
    run.check_inputs()
    picture(two_classes / "ill" / "3.png")
    with pytest.raises(RunDirectoryError, match="has changed") as caught:
        run.check_inputs()
    changed = load(two_classes).input_file.sha256
    assert changed in str(caught.value)
    assert data.input_file.sha256 in str(caught.value)


def test_sixteen_bits_palettes_and_rotation_are_read_right(tmp_path):
    folder = tmp_path / "c"
    folder.mkdir()
    levels = np.linspace(0, 65535, 144).reshape(12, 12).astype(np.uint16)
    for index in range(3):
        Image.fromarray(levels).save(folder / f"{index}.png")
    data = load(tmp_path)
    np.testing.assert_array_equal(data.train[0, ..., 0], np.rint(levels / 257).astype(np.uint8))
    assert "16 bits" in data.input_file.note

    grey = np.arange(144, dtype=np.uint8).reshape(12, 12)
    rgb = np.stack([grey, 255 - grey, grey // 2], axis=-1)
    for index in range(3):
        image = Image.fromarray(rgb)
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(folder / f"{index}.png", exif=exif)
    # Orientation 6: the stored image is shown turned by 90 degrees clockwise.
    np.testing.assert_array_equal(load(tmp_path, channels=3).train[0], np.rot90(rgb, -1))

    for index in range(3):
        Image.fromarray(grey).convert("P").save(folder / f"{index}.png")
    np.testing.assert_array_equal(load(tmp_path).train[0, ..., 0], grey)


def test_opaque_alpha_is_dropped(tmp_path):
    (tmp_path / "c").mkdir()
    rgba = np.full((12, 12, 4), 255, np.uint8)
    rgba[..., 0] = 7
    for index in range(3):
        Image.fromarray(rgba).save(tmp_path / "c" / f"{index}.png")
    np.testing.assert_array_equal(load(tmp_path, channels=3).train[0], rgba[..., :3])


def text(path):
    path.write_text("no image")


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-60])


def animated(path):
    frames = [Image.fromarray(np.full((12, 12), level, np.uint8)) for level in (0, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def transparent(path):
    Image.fromarray(np.full((12, 12, 4), 100, np.uint8)).save(path)


def other_size(path):
    Image.fromarray(np.zeros((12, 16), np.uint8)).save(path)


def floats(path):
    Image.fromarray(np.zeros((12, 12), np.float32)).save(path, format="TIFF")


def gif(path):
    Image.fromarray(np.zeros((12, 12), np.uint8)).save(path, format="GIF")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (text, "no readable PNG, JPEG or TIFF"),
        (cut_short, "no readable PNG, JPEG or TIFF"),
        (gif, "no readable PNG, JPEG or TIFF"),
        (animated, "2 pictures"),
        (transparent, "transparent"),
        (other_size, "16x12 pixels.*12x12.*data.resize"),
        (floats, "pixels of type F"),
    ],
)
def test_files_that_cannot_be_taken_are_named_in_one_line(two_classes, damage, reason):
    path = two_classes / "ill" / "7.png"
    damage(path)
    with pytest.raises(DataError, match=reason) as caught:
        load(two_classes)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("size", "side"), [((9, 9), 8), ((12, 8), 8), ((3, 3), 4)])
def test_a_size_that_the_network_cannot_halve_is_refused_with_the_option_that_mends_it(tmp_path, size, side):
    for index in range(4):
        path = tmp_path / "class" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros(size[::-1], np.uint8)).save(path)
    with pytest.raises(DataError, match=rf"{size[1]}x{size[0]} pixels.*`data.resize: {side}`"):
        load(tmp_path)
    assert load(tmp_path, resize=side).image_size == side


def test_folders_that_are_no_data_set_are_refused(tmp_path, two_classes, picture):
    with pytest.raises(DataError, match="no such folder"):
        load(tmp_path / "nowhere")
    (two_classes / "notes.txt").touch()
    with pytest.raises(DataError, match=r"notes\.txt.*in no class folder"):
        load(two_classes)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is empty"):
        load(tmp_path / "empty")
    picture(tmp_path / "one" / "class" / "0.png")
    with pytest.raises(DataError, match="no test image, of 1 in 1 classes"):
        load(tmp_path / "one")
    picture(tmp_path / "split" / "train" / "class" / "0.png")
    with pytest.raises(DataError, match="needs `train` and `test`"):
        load(tmp_path / "split")
    with pytest.raises(DataError, match="leave no images to train with"):
        load(tmp_path / "one", val_share=0.5, test_share=0.5)


def test_options_are_checked():
    with pytest.raises(ConfigError, match="path"):
        build_config({"data": {"name": "folder"}})
    for options in ({"resize": 30}, {"channels": 2}, {"test_share": 0.0}, {"colour": True}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            build_config({"data": {"name": "folder", "path": "x", **options}})
    assert DataConfig(name="folder", path="x").options.channels == 1
