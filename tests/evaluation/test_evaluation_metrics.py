import numpy as np
import pytest

from qhybrid.errors import EvaluationError
from qhybrid.evaluation.metrics import frechet_distance, kernel_distance, precision_recall, squared_distances


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def with_moments(rng, n, mean, covariance):
    """A sample whose mean and covariance (n - 1) are exactly the given ones."""
    raw = rng.normal(size=(n, len(mean)))
    raw -= raw.mean(axis=0)
    white = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw, rowvar=False))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def test_fid_equals_closed_form_of_commuting_covariances(rng):
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 0.25])
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    x = with_moments(rng, 50, np.zeros(3), turn @ np.diag(a) @ turn.T)
    y = with_moments(rng, 70, np.array([1.0, 2.0, -2.0]), turn @ np.diag(b) @ turn.T)
    # Commuting covariances: |m|^2 + sum (sqrt a - sqrt b)^2.
    assert frechet_distance(x, y) == pytest.approx(9 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum(), abs=1e-9)


def test_fid_equals_matrix_square_root_and_is_symmetric(rng):
    from scipy.linalg import sqrtm

    x, y = rng.normal(size=(80, 5)) @ rng.normal(size=(5, 5)), rng.normal(size=(90, 5)) + 1
    c, d = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    shift = x.mean(axis=0) - y.mean(axis=0)
    expected = shift @ shift + np.trace(c + d - 2 * np.real(sqrtm(c @ d)))
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(y, x) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-8)


def test_fid_refuses_a_singular_covariance(rng):
    with pytest.raises(EvaluationError, match=r"first set has 64 images.*at least 65"):
        frechet_distance(rng.normal(size=(64, 64)), rng.normal(size=(100, 64)))


def test_kid_equals_the_definition(rng):
    x, y = rng.normal(size=(7, 4)), rng.normal(size=(5, 4)) + 0.5

    def kernel(a, b):
        return (a @ b / 4 + 1) ** 3

    within_x = np.mean([kernel(x[i], x[j]) for i in range(7) for j in range(7) if i != j])
    within_y = np.mean([kernel(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    across = np.mean([kernel(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(within_x + within_y - 2 * across, rel=1e-12)


def test_kid_is_unbiased(rng):
    # In one dimension (x y + 1)^3 = sum over k of C(3, k) (x y)^k, so MMD^2 = sum C(3, k) (E x^k - E y^k)^2.
    same = [kernel_distance(rng.normal(size=(20, 1)), rng.normal(size=(20, 1))) for _ in range(400)]
    assert abs(np.mean(same)) < 3 * np.std(same) / 20
    assert min(same) < 0  # a biased estimate cannot be negative
    shifted = [kernel_distance(rng.normal(size=(20, 1)) + 1, rng.normal(size=(20, 1))) for _ in range(400)]
    expected = 3 * 1**2 + 3 * (2 - 1) ** 2 + (4 - 0) ** 2
    assert abs(np.mean(shifted) - expected) < 3 * np.std(shifted) / 20


def test_kid_needs_two_images(rng):
    with pytest.raises(EvaluationError, match="at least 2"):
        kernel_distance(rng.normal(size=(1, 3)), rng.normal(size=(9, 3)))


def test_precision_and_recall_of_identical_disjoint_and_partial_sets(rng):
    x = rng.normal(size=(60, 3))
    assert precision_recall(x, x, 3) == (1.0, 1.0)
    assert precision_recall(x, x + 100, 3) == (0.0, 0.0)
    # Real data in two clusters, generated in one of them: all looks real, half is missing.
    real = np.concatenate([x, x + 100])
    precision, recall = precision_recall(np.concatenate([x, x]) + 1e-9, real, 3)
    assert precision == 1.0
    assert recall == pytest.approx(0.5, abs=0.02)
    # And the other way round: half of what is generated does not exist.
    assert precision_recall(real, np.concatenate([x, x]) + 1e-9, 3)[0] == pytest.approx(0.5, abs=0.02)


def test_precision_needs_more_images_than_neighbours(rng):
    with pytest.raises(EvaluationError, match="at least 6"):
        precision_recall(rng.normal(size=(5, 2)), rng.normal(size=(50, 2)), 5)


def test_squared_distances_equal_the_direct_ones(rng):
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(3, 4))
    assert np.allclose(squared_distances(x, y), ((x[:, None] - y[None]) ** 2).sum(axis=2))
