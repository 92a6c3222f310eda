from qhybrid.benchmarks.growth import precision


def test_single_precision_error_grows_slowly_with_depth() -> None:
    """Rounding adds up like a random walk: 384 rotations stay within a few dozen units in the last place."""
    shallow, deep = precision(layers=(1, 32))
    assert 0 < shallow["outputs"] < 1e-6
    assert 0 < shallow["gradients"] < 1e-6
    assert deep["outputs"] < 3e-6
    assert deep["gradients"] < 3e-6
