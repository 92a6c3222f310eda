"""Shot mode: means, standard errors, seeds and sampled gradients."""

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer.noise import NoiseModel, ReadoutError, amplitude_damping_error, depolarizing_error
from scipy import stats

from qhybrid.config import DeviceNoiseConfig, QuantumConfig
from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.ansatz import build_spec
from qhybrid.quantum.estimators import shots as sampling
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.estimators.from_config import build_estimator
from qhybrid.quantum.layer.layer import QuantumLayer, build_qnn


def noise() -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.1), ["ry", "sx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.05, 2), ["cx"])
    model.add_all_qubit_readout_error(ReadoutError([[0.95, 0.05], [0.2, 0.8]]))
    return model


def circuit_of(parameters: ParameterVector) -> QuantumCircuit:
    circuit = QuantumCircuit(3)
    circuit.ry(parameters[0], 0)
    circuit.cx(0, 2)
    circuit.ry(0.5 * parameters[1], 2)
    circuit.rz(parameters[0] * parameters[1], 2)
    circuit.cx(2, 1)
    circuit.sx(1)
    return circuit


OBSERVABLES = ["IIZ", "ZIZ", "XIX", "IYI", SparsePauliOp(["ZZI", "YIX", "III", "IIX"], [0.5, 1.0, 2.0, -0.7])]


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("shots", [1000, 1])
def test_means_and_standard_errors(noisy: bool, shots: int) -> None:
    """Over many rows the deviations in units of their standard errors are standard normal."""
    parameters = ParameterVector("p", 2)
    circuit = circuit_of(parameters)
    values = np.tile([[0.9, -1.3]], (2000, 1))
    model = noise() if noisy else None
    column = [[observable] for observable in OBSERVABLES]
    exact = CompiledEstimator(model, double=True).run([(circuit, column, values[0])]).result()[0].data.evs[:, 0]
    data = CompiledEstimator(model, shots=shots, seed=3).run([(circuit, column, values)]).result()[0].data
    assert data.evs.shape == data.stds.shape == (5, 2000)
    spread = data.evs.std(axis=1, ddof=1)
    assert np.all(np.abs(data.evs.mean(axis=1) - exact) < 4 * spread / np.sqrt(2000))
    if shots > 1:
        chi_square = ((data.evs - exact[:, None]) ** 2 / np.mean(data.stds**2, axis=1)[:, None]).sum(axis=1)
        low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], 2000)
        assert np.all((low < chi_square) & (chi_square < high))


def test_commuting_strings_are_read_from_the_same_shots() -> None:
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    model = NoiseModel(basis_gates=["h", "cx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 1), ["sx"])
    for item in (None, model):
        data = CompiledEstimator(item, shots=100, seed=1).run([(bell, ["IZ", "ZI", "ZZ", "IX"])]).result()[0].data
        assert data.evs[0] == data.evs[1] != data.evs[3]
        assert data.evs[2] == 1
        assert data.stds[2] == 0


def test_many_outcomes_are_drawn_as_few_are() -> None:
    """Above four outcomes per shot another method draws: same law."""
    spec = build_spec("ry_rz_ladder", 6, 2)
    values = np.tile(np.random.default_rng(0).normal(size=(1, spec.circuit.num_parameters)), (1500, 1))
    column = [[observable] for observable in spec.observables]
    exact = CompiledEstimator().run([(spec.circuit, column, values[:1])]).result()[0].data.evs
    for shots in (10, 100):
        data = CompiledEstimator(shots=shots, seed=1).run([(spec.circuit, column, values)]).result()[0].data
        z = (data.evs.mean(axis=1) - exact[:, 0]) / (data.evs.std(axis=1, ddof=1) / np.sqrt(1500))
        assert np.abs(z).max() < 4
        assert data.stds.mean() == pytest.approx(data.evs.std(axis=1).mean(), rel=0.1)


def test_samples_follow_the_seed_and_the_values_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    a = Parameter("a")
    circuit = QuantumCircuit(1)
    circuit.ry(a, 0)

    def sample(seed: int | None, angle: float) -> float:
        estimator = CompiledEstimator(shots=100, seed=seed)
        return float(estimator.run([(circuit, "Z", angle)]).result()[0].data.evs)

    assert sample(1, 1.5) == sample(1, 1.5)
    assert len({sample(seed, 1.5) for seed in range(6)}) > 1
    assert len({sample(1, 1.5 + 1e-9 * k) for k in range(6)}) > 1
    assert len({sample(None, 1.5) for _ in range(8)}) > 1
    values = np.linspace(0, 1, 50)[:, None]
    whole = CompiledEstimator(noise(), shots=100, seed=1).compile(circuit, [SparsePauliOp("Z")], [a])
    before = whole.expectations(values)
    monkeypatch.setattr(sampling, "_CHUNK_BYTES", 8 * 4 * 7)
    np.testing.assert_array_equal(whole.expectations(values), before)


def test_precision_of_a_pub_sets_the_shots() -> None:
    circuit = QuantumCircuit(1)
    circuit.h(0)
    result = CompiledEstimator(shots=10, seed=1).run([(circuit, "Z")], precision=0.05).result()[0]
    assert result.metadata["shots"] == 400
    assert result.data.stds == pytest.approx(0.05, rel=0.1)
    assert CompiledEstimator(shots=100).default_precision == 0.1
    assert CompiledEstimator().run([(circuit, "Z")], precision=0.05).result()[0].data.stds == 0


@pytest.mark.parametrize("noisy", [False, True])
def test_gradients_through_shots(noisy: bool) -> None:
    parameters = ParameterVector("p", 2)
    circuit = circuit_of(parameters)
    observables = [SparsePauliOp(item) for item in OBSERVABLES]
    model = noise() if noisy else None
    values, grad_output = np.tile([[0.9, -1.3]], (400, 1)), np.tile(np.linspace(-1, 1, 5), (400, 1))

    def vjp(**options: object) -> np.ndarray:
        compiled = CompiledEstimator(model, **options).compile(circuit, observables, list(parameters))
        return compiled.vjp(values, grad_output)

    exact = vjp()
    np.testing.assert_array_equal(vjp(shots=50, seed=0), exact)
    sampled = vjp(shots=50, seed=0, gradient="parameter_shift")
    error = sampled.std(axis=0, ddof=1) / np.sqrt(400)
    assert np.all(error > 0.005)
    assert np.all(np.abs(sampled.mean(axis=0) - exact[0]) < 4 * error)


def test_layer_trains_on_shots_and_repeats_itself() -> None:
    spec = build_spec("ry_rz_ladder", 2, 1)

    def train(gradient: str) -> list[float]:
        estimator = CompiledEstimator(noise(), shots=200, seed=5, gradient=gradient)
        layer = QuantumLayer(build_qnn(spec, estimator), seed=0)
        x = torch.linspace(-1, 1, 8).reshape(4, 2)
        optimizer = torch.optim.Adam(layer.parameters(), 0.2)
        losses = []
        for _ in range(10):
            optimizer.zero_grad()
            loss = (layer(x) - torch.tensor([[0.4, 0.0]])).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    for gradient in ("exact", "parameter_shift"):
        losses = train(gradient)
        assert losses[-1] < 0.7 * losses[0]
        assert train(gradient) == losses


def test_configurations_with_noise_and_shots() -> None:
    spec = build_spec("ry_rz_ladder", 3, 1)
    noisy = DeviceNoiseConfig(device="fake_manila", readout_error=False)
    config = QuantumConfig(noise=noisy, shots=50, gradient="parameter_shift")
    estimator = build_estimator(spec, config, 7)
    assert isinstance(estimator, CompiledEstimator)
    assert (estimator.shots, estimator.seed, estimator.gradient, estimator.readout_error) == (
        50,
        7,
        "parameter_shift",
        False,
    )
    layer = QuantumLayer(build_qnn(spec, estimator), seed=0)
    assert layer(torch.zeros(2, 3)).shape == (2, 3)
    with pytest.raises(CircuitError, match="0 shots"):
        CompiledEstimator(shots=0)
    with pytest.raises(CircuitError, match="gradient `spsa`"):
        CompiledEstimator(gradient="spsa")  # type: ignore[arg-type]
