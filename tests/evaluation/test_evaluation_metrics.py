import numpy as np
import pytest

from qhybrid.errors import EvaluationError
from qhybrid.evaluation.metrics import frechet_distance, kernel_distance, neighbourhoods, squared_distances


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


def plain_neighbourhoods(x, y, k):
    """The four formulas of the two papers, image by image."""

    def radius(points, i):
        return sorted(np.linalg.norm(points[i] - other) for j, other in enumerate(points) if j != i)[k - 1]

    radii_x, radii_y = [radius(x, i) for i in range(len(x))], [radius(y, j) for j in range(len(y))]
    distance = [[np.linalg.norm(a - b) for b in y] for a in x]
    precision = np.mean([any(distance[i][j] <= radii_y[j] for j in range(len(y))) for i in range(len(x))])
    recall = np.mean([any(distance[i][j] <= radii_x[i] for i in range(len(x))) for j in range(len(y))])
    density = sum(distance[i][j] < radii_y[j] for i in range(len(x)) for j in range(len(y))) / (k * len(x))
    coverage = np.mean([min(distance[i][j] for i in range(len(x))) < radii_y[j] for j in range(len(y))])
    return precision, recall, density, coverage


@pytest.mark.parametrize(("n", "m", "k"), [(40, 40, 1), (40, 40, 3), (30, 55, 5), (55, 30, 2)])
def test_neighbourhoods_equal_their_definitions(rng, monkeypatch, n, m, k):
    x, y = rng.normal(size=(n, 3)) * 0.7 + 0.3, rng.normal(size=(m, 3))
    expected = plain_neighbourhoods(x, y, k)
    assert all(value > 0 for value in expected)
    assert neighbourhoods(x, y, k) == pytest.approx(expected, abs=1e-12)
    monkeypatch.setattr("qhybrid.evaluation.metrics._BLOCK", 7)  # distances come in blocks of rows
    assert neighbourhoods(x, y, k) == pytest.approx(expected, abs=1e-12)


def test_neighbourhoods_on_a_line_worked_by_hand():
    # Real 0, 1, 3, 7 with k = 1: radii 1, 1, 2, 4, balls (-1, 1), (0, 2), (1, 5), (3, 11).
    real = np.array([[0.0], [1.0], [3.0], [7.0]])
    # Generated 0.5 lies in two of them, 4 in two, 20 in none; radii 3.5, 3.5, 16.
    generated = np.array([[0.5], [4.0], [20.0]])
    found = neighbourhoods(generated, real, 1)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == 1.0  # all within (-3, 4) or (0.5, 7.5)
    assert found.density == pytest.approx(4 / 3)
    assert found.coverage == 1.0


def test_neighbourhoods_of_identical_disjoint_and_partial_sets(rng):
    x = rng.integers(-50, 50, size=(60, 3)).astype(float)  # whole numbers: distances are exact
    assert neighbourhoods(x, x, 3).precision == 1.0
    assert neighbourhoods(x, x, 3).coverage == 1.0
    assert neighbourhoods(np.arange(9.0)[:, None] ** 2, np.arange(9.0)[:, None] ** 2, 2) == (1.0, 1.0, 1.0, 1.0)
    assert neighbourhoods(x, x + 1000, 3) == (0.0, 0.0, 0.0, 0.0)
    # Real data in two clusters, generated in one of them: all looks real, half is missing.
    real = np.concatenate([x, x + 1000])
    found = neighbourhoods(np.concatenate([x, x]) + 1e-9, real, 3)
    assert found.precision == 1.0
    assert (found.recall, found.coverage) == pytest.approx((0.5, 0.5), abs=0.02)
    # And the other way round: half of what is generated does not exist.
    assert neighbourhoods(real, np.concatenate([x, x]) + 1e-9, 3).precision == pytest.approx(0.5, abs=0.02)


def test_an_outlier_among_the_real_images_raises_precision_but_hardly_density(rng):
    real = np.concatenate([rng.normal(size=(99, 2)), [[30.0, 30.0]]])
    wrong = rng.normal(size=(100, 2)) + 12  # far from all real images, but within the outlier's ball
    found = neighbourhoods(wrong, real, 5)
    assert found.precision == 1.0
    assert found.density == pytest.approx(1 / 5)
    assert found.coverage <= 0.02


def test_density_of_samples_of_one_law_is_one_on_average(rng):
    densities = [neighbourhoods(rng.normal(size=(80, 2)), rng.normal(size=(80, 2)), 5).density for _ in range(60)]
    assert np.mean(densities) == pytest.approx(1, abs=0.03)


def test_precision_needs_more_images_than_neighbours(rng):
    with pytest.raises(EvaluationError, match="at least 6"):
        neighbourhoods(rng.normal(size=(5, 2)), rng.normal(size=(50, 2)), 5)


def test_squared_distances_equal_the_direct_ones(rng):
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(3, 4))
    assert np.allclose(squared_distances(x, y), ((x[:, None] - y[None]) ** 2).sum(axis=2))
