"""Where the picture of a device puts its qubits."""

import numpy as np
import pytest
import rustworkx

from hardware.placement.layout_figure import _positions
from qhybrid.quantum.devices.snapshots import snapshot


def stress(places: np.ndarray, paths: np.ndarray) -> float:
    """Kruskal's stress-1: how far distances in the plane are from path lengths, 0 for the same up to scale."""
    upper = np.triu_indices(len(paths), 1)
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)[upper]
    apart *= (apart @ paths[upper]) / (apart @ apart)
    return float(np.sqrt(((apart - paths[upper]) ** 2).sum() / (paths[upper] ** 2).sum()))


@pytest.mark.parametrize("device", ["fake_manila", "fake_guadalupe", "fake_torino"])
def test_distances_in_the_picture_follow_the_coupling_map(device: str) -> None:
    graph = snapshot(device).coupling_map.graph.to_undirected(multigraph=False)
    paths = rustworkx.distance_matrix(graph)
    edges = sorted({tuple(sorted(edge)) for edge in graph.edge_list()})
    places = _positions(len(paths), edges)
    assert stress(places, paths) < 0.15
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.diag(np.full(len(paths), np.inf))
    lengths = np.array([apart[a, b] for a, b in edges])
    # No coupling is drawn much longer than another, and no two qubits on one spot.
    assert lengths.max() < 3 * lengths.min()
    assert apart.min() > 0.4 * lengths.mean()
    np.testing.assert_array_equal(places, _positions(len(paths), edges))


def test_qubits_without_couplings_lie_in_a_row() -> None:
    np.testing.assert_array_equal(_positions(3, []), [[0, 0], [1, 0], [2, 0]])
