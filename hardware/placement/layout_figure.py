"""The picture of a layout: a device's coupling map with the qubits that each copy of a circuit takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rustworkx
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from qiskit.providers import BackendV2

from qhybrid.files import atomic_path

_GREY, _ORANGE = "0.75", "#e6731a"


def draw_layout(backend: BackendV2, layouts: Sequence[Sequence[int]], path: Path) -> None:
    """The coupling map, each copy's qubits marked with their numbers in the circuit, a colour per copy; PNG.

    Args:
        backend: Device with the coupling map to be drawn.
        layouts: Device qubits of each copy, in the order of the circuit's qubits.
        path: PNG file to be written.
    """
    figure = Figure(figsize=(8, 6), layout="constrained")
    layout_axes(figure.add_subplot(), backend, layouts)
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def layout_axes(axes: Axes, backend: BackendV2, layouts: Sequence[Sequence[int]]) -> None:
    """What `draw_layout` draws, on given axes.

    Args:
        axes: Matplotlib axes to draw on.
        backend: Device with the coupling map to be drawn.
        layouts: Device qubits of each copy, in the order of the circuit's qubits.
    """
    edges = (
        sorted({(min(a, b), max(a, b)) for a, b in backend.coupling_map.get_edges()}) if backend.coupling_map else []
    )
    owner = {qubit: number for number, layout in enumerate(layouts) for qubit in layout}
    size = backend.num_qubits if edges else len(owner)
    places = _positions(size, edges)
    for a, b in edges:
        inside = a in owner and owner[a] == owner.get(b)
        axes.plot(
            places[[a, b], 0],
            places[[a, b], 1],
            color=_colour(owner[a]) if inside else _GREY,
            linewidth=3 if inside else 1,
            zorder=1,
        )
    rest = [qubit for qubit in range(size) if qubit not in owner]
    axes.scatter(places[rest, 0], places[rest, 1], s=30, color=_GREY, zorder=2)
    for copy, layout in enumerate(layouts):
        chosen = places[list(layout)]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=180, color=_colour(copy), zorder=3)
        for number, place in enumerate(chosen):
            axes.text(place[0], place[1], str(number), ha="center", va="center", color="white", fontsize=8, zorder=4)
    where = f"device qubits {', '.join(map(str, layouts[0]))}" if len(layouts) == 1 else f"{len(layouts)} places"
    axes.set_title(f"{backend.name}: circuit qubits 0 to {len(layouts[0]) - 1} on {where}", fontsize=9)
    axes.set_aspect("equal")
    axes.axis("off")


def _colour(copy: int) -> Any:
    # The first copy, the best one, keeps the accent colour, and no other comes near it.
    others = [colormaps["tab20"](index) for index in range(0, 20, 2) if index != 2]
    return _ORANGE if copy == 0 else others[(copy - 1) % len(others)]


def _positions(size: int, edges: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """Places `(size, 2)` in the plane whose distances follow those on the coupling map.

    Devices do not state where their qubits lie. Torgerson's classical scaling of the path lengths (kernel PCA of
    -distance^2 / 2) unfolds a lattice, SMACOF evens it out; both are deterministic.
    """
    if not edges:
        return np.stack([np.arange(size, dtype=np.float64), np.zeros(size)], axis=1)
    from sklearn.decomposition import KernelPCA
    from sklearn.manifold import smacof

    graph: rustworkx.PyGraph[None, None] = rustworkx.PyGraph()
    graph.add_nodes_from([None] * size)
    graph.add_edges_from([(a, b, None) for a, b in edges])
    paths = rustworkx.distance_matrix(graph, null_value=np.inf)
    distance = np.where(np.isfinite(paths), paths, paths[np.isfinite(paths)].max() + 1)
    scaling = KernelPCA(n_components=2, kernel="precomputed", eigen_solver="dense")
    unfolded = scaling.fit_transform(-0.5 * distance**2)
    places, _ = smacof(distance, n_components=2, init=unfolded, n_init=1, normalized_stress=False)
    return np.asarray(places, dtype=np.float64)
