import copy

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.primitives import StatevectorEstimator
from qiskit_aer.primitives import EstimatorV2 as AerEstimatorV2

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.ansatz import build_spec, z_observables
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.layer.layer import QuantumLayer, build_qnn
from qhybrid.quantum.layer.spsa import PerturbedCircuit, Spsa


class Recorder(StatevectorEstimator):
    """Remembers the pubs of each job and the precision."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[tuple[list[int], float | None]] = []

    def run(self, pubs: object, *, precision: float | None = None) -> object:
        pubs = list(pubs)
        self.jobs.append(([len(pub[2]) for pub in pubs], precision))
        return super().run(pubs, precision=precision)


@pytest.fixture
def spec() -> CircuitSpec:
    return build_spec("ry_rz_ladder", 3, 2)


def gradient(layer: QuantumLayer, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.clone().requires_grad_()
    layer.zero_grad()
    (layer(x) * torch.linspace(-1, 1, 3)).sum().backward()
    return x.grad, layer.weight.grad.clone()


def test_a_step_costs_two_evaluations_per_sample_and_direction(spec: CircuitSpec) -> None:
    estimator = Recorder()
    layer = QuantumLayer(build_qnn(spec, estimator), seed=1, gradient="spsa")
    gradient(layer, torch.ones(4, 3))
    with torch.no_grad():
        layer(torch.ones(4, 3))
    gradient(QuantumLayer(build_qnn(spec, estimator), seed=1, gradient=Spsa(directions=5)), torch.ones(2, 3))
    assert estimator.jobs == [([4 * 3], None), ([4], None), ([2 * 11], None)]


def test_the_mean_over_directions_is_the_gradient(spec: CircuitSpec) -> None:
    x = torch.linspace(-1, 1, 6).reshape(2, 3)
    exact = gradient(QuantumLayer(build_qnn(spec, CompiledEstimator()), seed=1), x)
    directions = 6000
    qnn = build_qnn(spec, CompiledEstimator())
    estimate = gradient(QuantumLayer(qnn, seed=1, gradient=Spsa(1e-2, directions)), x)
    # One direction is off by the norm of the sample's whole gradient.
    spread = 2 * torch.cat([g.flatten() for g in exact]).norm() / directions**0.5
    for ours, theirs in zip(estimate, exact, strict=True):
        assert (ours - theirs).abs().max() < 4 * spread
    assert exact[0].abs().max() > 10 * spread


def test_only_wanted_columns_move(spec: CircuitSpec) -> None:
    parameters = [*spec.inputs, *spec.weights]
    circuit = PerturbedCircuit(spec.circuit, spec.observables, parameters, Spsa())
    values = np.zeros((2, len(parameters)))
    _, (directions, _) = circuit.evaluate(CompiledEstimator(), values, frozenset({1, 4}), None)
    assert np.flatnonzero(np.abs(directions).sum(axis=(0, 1))).tolist() == [1, 4]
    assert set(np.abs(directions[:, :, [1, 4]]).ravel()) == {1.0}


def test_equal_calls_give_equal_gradients_and_seeds_differ(spec: CircuitSpec) -> None:
    x = torch.ones(3, 3)
    layer = QuantumLayer(build_qnn(spec, CompiledEstimator()), seed=1, gradient="spsa")
    first = gradient(layer, x)
    assert all(map(torch.equal, first, gradient(copy.deepcopy(layer), x)))
    other = gradient(QuantumLayer(build_qnn(spec, CompiledEstimator()), seed=1, gradient=Spsa(seed=1)), x)
    assert not torch.equal(first[1], other[1])
    # Samples with equal values still move along directions of their own.
    assert not torch.equal(first[0][0], first[0][1])


def test_training_by_spsa_lowers_the_loss(spec: CircuitSpec) -> None:
    layer = QuantumLayer(build_qnn(spec, CompiledEstimator()), seed=0, gradient=Spsa(0.05))
    x = torch.linspace(-1, 1, 48).reshape(16, 3)
    target = torch.tensor([0.5, -0.5, 0.0]).expand(16, 3)
    optimizer = torch.optim.Adam(layer.parameters(), 0.05)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (layer(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_a_circuit_with_a_reset_trains_by_spsa_on_aer() -> None:
    """What parameter shifts and exact simulation refuse."""
    x, w = ParameterVector("x", 1), ParameterVector("w", 1)
    circuit = QuantumCircuit(2)
    circuit.ry(x[0], 0)
    circuit.cx(0, 1)
    circuit.reset(0)
    circuit.ry(w[0], 1)
    spec = CircuitSpec("reset", circuit, tuple(x), tuple(w), z_observables(2))
    # On state vectors Aer would draw trajectories.
    estimator = AerEstimatorV2(options={"backend_options": {"method": "density_matrix"}})
    with pytest.raises(CircuitError, match="reset"):
        QuantumLayer(build_qnn(spec, estimator))
    layer = QuantumLayer(build_qnn(spec, estimator), [0.4], gradient=Spsa(1e-3))
    angle = torch.tensor([[0.7]], requires_grad=True)
    out = layer(angle)
    torch.testing.assert_close(out, torch.tensor([[1.0, np.cos(0.7) * np.cos(0.4)]], dtype=torch.float32))
    out.sum().backward()
    # Along (1, s) the slope is f_x + s f_w, so the estimate is (f_x + s f_w, s f_x + f_w).
    by_x, by_w = -np.sin(0.7) * np.cos(0.4), -np.cos(0.7) * np.sin(0.4)
    estimate = np.array([float(angle.grad), float(layer.weight.grad)])
    candidates = [[by_x + s * by_w, s * by_x + by_w] for s in (1, -1)]
    assert min(np.abs(estimate - candidate).max() for candidate in candidates) < 1e-4


def test_parameter_shift_can_be_asked_of_the_compiled_estimator(spec: CircuitSpec) -> None:
    x = torch.ones(2, 3)
    adjoint = gradient(QuantumLayer(build_qnn(spec, CompiledEstimator()), seed=1), x)
    shifted = gradient(QuantumLayer(build_qnn(spec, CompiledEstimator()), seed=1, gradient="parameter_shift"), x)
    for a, b in zip(adjoint, shifted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_empty_batches_and_circuits_without_parameters() -> None:
    bare = CircuitSpec("bare", QuantumCircuit(1), (), (), z_observables(1))
    assert QuantumLayer(build_qnn(bare, StatevectorEstimator()), gradient="spsa")().tolist() == [1.0]
    spec = build_spec("ry_rz_ladder", 2, 1)
    layer = QuantumLayer(build_qnn(spec, CompiledEstimator()), gradient="spsa")
    out = layer(torch.zeros(0, 2, requires_grad=True))
    assert out.shape == (0, 2)
    out.sum().backward()
    assert layer.weight.grad.abs().sum() == 0


def test_wrong_settings_are_refused(spec: CircuitSpec) -> None:
    with pytest.raises(CircuitError, match="positive"):
        Spsa(epsilon=0)
    with pytest.raises(CircuitError, match="at least 1"):
        Spsa(directions=0)
    with pytest.raises(CircuitError, match=r"`finite`.*parameter_shift"):
        QuantumLayer(build_qnn(spec, CompiledEstimator()), gradient="finite")
