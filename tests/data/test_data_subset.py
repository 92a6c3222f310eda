"""Class filter, seeded subsets and the registry, on the bundled digits."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from qhybrid.config import DataConfig, Section, build_config, dump_config
from qhybrid.data import ImageData, dataset_names, load_data
from qhybrid.data.subset import balanced_subset, select
from qhybrid.errors import ConfigError, DataError
from qhybrid.registry import DATA_SETS, Entry

DIGITS_CHECKSUM = "90406ccabb42d22344583ddc210be933f84abbb46a22a0bbae9010b7d1b16488"


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load_data(DataConfig())


def test_digits_are_split_once_and_for_all(digits: ImageData) -> None:
    assert [len(part) for part in (digits.train, digits.val, digits.test)] == [1259, 179, 359]
    assert digits.train.shape[1:] == (8, 8, 1)
    assert digits.checksum == DIGITS_CHECKSUM
    assert digits.class_names == tuple("0123456789")


def test_digits_are_those_of_scikit_learn_each_in_one_split(digits: ImageData) -> None:
    from sklearn.datasets import load_digits

    source = load_digits()
    ours = np.concatenate([digits.train, digits.val, digits.test])[..., 0]
    labels = np.concatenate([digits.train_labels, digits.val_labels, digits.test_labels])
    assert (ours.min(), ours.max()) == (0, 255)
    as_bundled = np.rint(ours / (255 / 16)).astype(int)
    found = sorted((label, image.tobytes()) for label, image in zip(labels, as_bundled, strict=True))
    wanted = sorted(
        (label, image.astype(int).tobytes()) for label, image in zip(source.target, source.images, strict=True)
    )
    assert found == wanted


def test_digits_split_is_stratified(digits: ImageData) -> None:
    totals = sum(np.bincount(labels) for labels in (digits.train_labels, digits.val_labels, digits.test_labels))
    np.testing.assert_allclose(np.bincount(digits.test_labels) / totals, 0.2, atol=0.005)
    np.testing.assert_allclose(np.bincount(digits.val_labels) / totals, 0.1, atol=0.005)


def test_filter_keeps_classes_in_every_split_under_their_own_numbers() -> None:
    data = load_data(DataConfig(classes=[7, 3]))
    for labels in (data.train_labels, data.val_labels, data.test_labels):
        assert set(labels) == {3, 7}
    assert len(data.train) == len(data.train_labels)
    assert len(data.class_names) == 10


def test_checksum_is_that_of_the_full_set(digits: ImageData) -> None:
    assert load_data(DataConfig(classes=[1], n_train=5)).checksum == digits.checksum


def test_subset_and_unused_make_up_the_training_split(digits: ImageData) -> None:
    data = load_data(DataConfig(n_train=100, subset_seed=3))
    assert len(data.train) == 100
    both = np.concatenate([data.train, data.unused])
    assert len(both) == len(digits.train)
    assert sorted(image.tobytes() for image in both) == sorted(image.tobytes() for image in digits.train)
    counts = np.bincount(data.train_labels) + np.bincount(data.unused_labels)
    np.testing.assert_array_equal(counts, np.bincount(digits.train_labels))
    np.testing.assert_array_equal(data.test, digits.test)


def test_labels_follow_their_images(digits: ImageData) -> None:
    label_of = {image.tobytes(): label for image, label in zip(digits.train, digits.train_labels, strict=True)}
    data = load_data(DataConfig(classes=[0, 8], n_train=40))
    for images, labels in ((data.train, data.train_labels), (data.unused, data.unused_labels)):
        assert [label_of[image.tobytes()] for image in images] == labels.tolist()


def test_subset_depends_on_the_seed_alone() -> None:
    first, again, other = (load_data(DataConfig(n_train=50, subset_seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.train, again.train)
    assert not np.array_equal(first.train, other.train)


def test_whole_split_can_be_asked_for(digits: ImageData) -> None:
    data = load_data(DataConfig(n_train=1259))
    np.testing.assert_array_equal(data.train, digits.train)
    assert data.unused.shape == (0, 8, 8, 1)


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=5), seed=st.integers(0, 2**32), data=st.data())
def test_subsets_are_balanced_and_nested(sizes: list[int], seed: int, data: st.DataObject) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    n = data.draw(st.integers(1, len(labels)))
    drawn = balanced_subset(labels, n, seed)
    assert len(set(drawn.tolist())) == n
    counts = np.bincount(labels[drawn], minlength=len(sizes))
    not_exhausted = [count for count, size in zip(counts, sizes, strict=True) if count < size]
    assert all(counts.max() - count <= 1 for count in not_exhausted)
    assert set(balanced_subset(labels, n - 1, seed)) < set(drawn)


def test_remainder_does_not_favour_a_class() -> None:
    labels = np.repeat([0, 1, 2], 5)
    assert {int(labels[balanced_subset(labels, 1, seed)[0]]) for seed in range(30)} == {0, 1, 2}


def test_too_large_a_subset_gives_both_numbers() -> None:
    with pytest.raises(DataError, match=r"n_train: 1260` exceeds the 1259 training images of `digits`: ask"):
        load_data(DataConfig(n_train=1260))
    with pytest.raises(
        DataError, match=r"n_train: 400` exceeds the 1\d\d training images of `digits` in classes \[3\]"
    ):
        load_data(DataConfig(n_train=400, classes=[3]))


@pytest.mark.parametrize("number", [10, -1])
def test_unknown_class_lists_the_classes(number: int) -> None:
    with pytest.raises(DataError, match=rf"no class {number}; its classes are 0, 1, 2, .*9$"):
        load_data(DataConfig(classes=[3, number]))


def multi_label() -> ImageData:
    images = np.arange(20 * 16, dtype=np.uint64).astype(np.uint8).reshape(20, 4, 4)
    labels = (np.arange(20)[:, None] >> np.arange(3)) & 1
    parts = {"train": (images, labels), "test": (images, labels)}
    return ImageData.from_splits("chest", val=None, class_names=("a", "b", "c"), origin="here", **parts)


def test_multi_label_set_refuses_a_class_filter_and_takes_a_subset() -> None:
    with pytest.raises(DataError, match="`chest` is a multi-label set"):
        select(multi_label(), [1], None, 0)
    data = select(multi_label(), None, 8, 0)
    assert data.train_labels.shape == (8, 3)
    assert data.unused_labels.shape == (12, 3)


def test_names() -> None:
    names = dataset_names()
    assert len(names) == len(set(names)) == 17
    assert {"digits", "mnist", "fashion_mnist", "npz", "folder", "pathmnist", "chestmnist", "organsmnist"} <= set(names)
    assert not any(name.endswith("3d") for name in names)


def test_unknown_name_lists_the_known_and_suggests_the_nearest() -> None:
    for name, line in [
        (
            "PathMINST",
            r"`data`: data set `PathMINST` is unknown, did you mean `pathmnist`\? registered are .*npz",
        ),
        ("xyz", r"`data`: data set `xyz` is unknown; registered are digits, .* \(package `qhybrid`\)"),
        ("organmnist3d", r"`data`: data set `organmnist3d` holds volumes"),
    ]:
        with pytest.raises(ConfigError, match=line):
            build_config({"data": {"name": name}})


class Options(Section):
    side: int = 8
    levels: list[int] = Field(default=[0, 1])


@pytest.fixture
def strange(monkeypatch):
    """Register a data set of another package for one test."""

    def register(builder, section=Options):
        DATA_SETS.packages()
        monkeypatch.setitem(DATA_SETS._entries, "strange", [Entry("strange", builder, section, "a-package")])

    return register


def test_a_strangers_options_stand_beside_the_common_keys(strange) -> None:
    seen = []

    def load(options, config):
        seen.append((options, config))
        return load_data(DataConfig())

    strange(load)
    values = {"data": {"name": "strange", "side": 16, "n_train": 10, "classes": [3, 5]}}
    config = build_config(values)
    assert len(load_data(config.data).train) == 10
    assert seen[0] == (Options(side=16), config.data)
    dumped = yaml.safe_load(dump_config(config))
    assert dumped["data"]["side"] == 16
    assert "options" not in dumped["data"]
    assert build_config(dumped) == config
    assert build_config({"data": "strange"}).data.options == Options()
    assert build_config({"data": "digits"}).data == DataConfig()


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"name": "strange", "sides": 3}, "`data`: data set `strange` of package `a-package`: unknown option `sides`"),
        ({"name": "strange", "side": "3"}, "`data`: data set `strange` of package `a-package`: option `side` is '3'"),
        ({"name": "strange", "options": {"side": 3}}, "unknown option `options` (allowed: side, levels)"),
        ({"name": "digits", "side": 3}, "unknown key `data.side` (allowed here: name, path, root, size, classes,"),
        ({"options": {}}, "unknown key `data.options` (allowed here: name, path, root, size, classes,"),
    ],
)
def test_a_wrong_option_is_told_in_one_line(strange, values, line) -> None:
    strange(lambda options, config: None)
    with pytest.raises(ConfigError) as error:
        build_config({"data": values})
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_what_a_stranger_loads_is_looked_at(strange) -> None:
    strange(lambda options, config: [1, 2, 3])
    with pytest.raises(DataError, match=r"`strange` of package `a-package` loads a list, not an ImageData"):
        load_data(DataConfig(name="strange"))


def test_a_strangers_option_may_not_be_a_common_key(strange) -> None:
    class Sized(Section):
        size: int = 8

    strange(lambda options, config: None, Sized)
    with pytest.raises(ConfigError, match=r"`strange` of package `a-package` has an option `size`, which is a key of"):
        build_config({"data": "strange"})


def test_digits_have_one_size() -> None:
    with pytest.raises(DataError, match="8x8"):
        load_data(DataConfig(size=28))


def test_loading_imports_neither_torch_nor_the_package_medmnist() -> None:
    program = (
        "import sys; from qhybrid.config import DataConfig; from qhybrid.data import load_data, dataset_names;"
        "load_data(DataConfig()); dataset_names();"
        "print([name for name in ('torch', 'torchvision', 'medmnist', 'pooch') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
