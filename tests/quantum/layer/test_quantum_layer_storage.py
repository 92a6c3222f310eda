"""A hybrid model goes through pickle, torch.save, copy, spawned processes, and under other default devices."""

import copy
import io
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from qiskit.primitives import StatevectorEstimator
from qiskit_machine_learning.algorithms import NeuralNetworkClassifier
from qiskit_machine_learning.connectors import TorchConnector

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.ansatz import build_spec
from qhybrid.quantum.devices.snapshots import crop, snapshot
from qhybrid.quantum.estimators.aer import AerEstimator
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.layer.layer import QuantumLayer, build_qnn

SPEC = build_spec("ry_rz_ladder", 2, 1)
ESTIMATORS = {
    "exact": lambda: CompiledEstimator(),
    "sampled": lambda: CompiledEstimator(shots=100, seed=1),
    "noisy": lambda: CompiledEstimator(device=crop(snapshot("fake_manila"), [0, 1])),
    "aer": lambda: AerEstimator(device=crop(snapshot("fake_manila"), [0, 1])),
    "stock": lambda: StatevectorEstimator(),
}


def hybrid(estimator: object) -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Linear(3, 2), QuantumLayer(build_qnn(SPEC, estimator), seed=1), torch.nn.Linear(2, 1)
    )


def answer(model: torch.nn.Module) -> torch.Tensor:
    return model(torch.linspace(-1, 1, 12).reshape(4, 3)).detach()


def through_pickle(model: torch.nn.Module) -> torch.nn.Module:
    return pickle.loads(pickle.dumps(model))


def through_torch(model: torch.nn.Module) -> torch.nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS = {"pickle": through_pickle, "torch": through_torch, "copy": copy.copy, "deepcopy": copy.deepcopy}


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("way", WAYS)
def test_a_hybrid_model_survives(name: str, way: str) -> None:
    model = hybrid(ESTIMATORS[name]())
    before = answer(model)
    other = WAYS[way](model)
    torch.testing.assert_close(answer(other), before, atol=0, rtol=0)
    assert [key for key, _ in other.named_parameters()] == [key for key, _ in model.named_parameters()]
    answer(other)
    model(torch.ones(1, 3)).sum().backward()
    other.zero_grad()
    other(torch.ones(1, 3)).sum().backward()
    torch.testing.assert_close(other[1].weight.grad, model[1].weight.grad)
    # Stored again, and copied after it was stored.
    torch.testing.assert_close(answer(copy.deepcopy(through_pickle(other))), before, atol=0, rtol=0)


def test_a_stored_model_is_independent_of_the_first() -> None:
    model = hybrid(CompiledEstimator())
    other = through_pickle(model)
    before = answer(model)
    with torch.no_grad():
        other[1].weight.add_(1.0)
    torch.testing.assert_close(answer(model), before, atol=0, rtol=0)
    assert (answer(other) - before).abs().max() > 1e-2


@pytest.mark.parametrize("estimator", [CompiledEstimator(shots=50, seed=2), AerEstimator(shots=50, seed=2)])
def test_estimators_survive_pickle(estimator: object) -> None:
    pub = (SPEC.circuit, "ZZ", np.linspace(0, 1, 6))
    before = estimator.run([pub]).result()[0].data.evs
    for twin in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator), copy.copy(estimator)):
        assert twin.run([pub]).result()[0].data.evs == before


def _in_another_process(model: torch.nn.Module, queue: object) -> None:
    queue.put(answer(model).numpy())


def test_a_spawned_process_takes_a_hybrid_model() -> None:
    model = hybrid(CompiledEstimator())
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_in_another_process, args=(model, queue))
    process.start()
    found = queue.get(timeout=120)
    process.join(60)
    np.testing.assert_array_equal(found, answer(model).numpy())


def test_a_classifier_of_qiskit_machine_learning_is_saved(tmp_path: Path) -> None:
    spec = build_spec("ry_rz_ladder", 1, 1)
    classifier = NeuralNetworkClassifier(build_qnn(spec, CompiledEstimator()), initial_point=np.array([0.1, 0.2]))
    features, labels = np.array([[0.1], [2.0], [0.2], [2.2]]), np.array([1, -1, 1, -1])
    classifier.fit(features, labels)
    classifier.to_dill(str(tmp_path / "classifier.model"))
    loaded = NeuralNetworkClassifier.from_dill(str(tmp_path / "classifier.model"))
    np.testing.assert_array_equal(loaded.predict(features), classifier.predict(features))


def test_a_layer_is_built_on_the_meta_device_and_filled_later() -> None:
    qnn = build_qnn(SPEC, CompiledEstimator())
    with torch.device("meta"):
        layer = QuantumLayer(qnn, seed=1)
        assert layer.weight.is_meta
        assert layer(torch.zeros(5, 2)).shape == (5, 2)
        assert layer(torch.zeros(2)).is_meta
    with pytest.raises(CircuitError, match="to_empty"):
        layer(torch.zeros(5, 2))
    filled = layer.to_empty(device="cpu")
    filled.load_state_dict(QuantumLayer(qnn, seed=1).state_dict())
    x = torch.ones(2, 2)
    torch.testing.assert_close(filled(x), QuantumLayer(qnn, seed=1)(x), atol=0, rtol=0)
    assigned = copy.deepcopy(layer)
    assigned.load_state_dict(QuantumLayer(qnn, seed=1).state_dict(), assign=True)
    torch.testing.assert_close(assigned(x), filled(x), atol=0, rtol=0)


@pytest.mark.parametrize("name", ["exact", "noisy", "stock"])
def test_a_default_device_changes_no_numbers(name: str) -> None:
    """What is computed in a context for another device stays where its inputs are."""
    layer = QuantumLayer(build_qnn(SPEC, ESTIMATORS[name]()), seed=1)
    x = torch.ones(2, 2)
    expected = layer(x).detach()
    with torch.device("meta"):
        out = layer(x)
        out.sum().backward()
    torch.testing.assert_close(out.detach(), expected, atol=0, rtol=0)
    assert layer.weight.grad.device.type == "cpu"
    torch.set_default_device("meta")
    try:
        torch.testing.assert_close(layer(x).detach(), expected, atol=0, rtol=0)
        drawn = QuantumLayer(layer.neural_network, seed=1)
    finally:
        torch.set_default_device(None)
    assert drawn.weight.is_meta


def test_shapes_without_values_have_gradients_without_values() -> None:
    layer = QuantumLayer(build_qnn(SPEC, CompiledEstimator()), seed=1).to("meta")
    x = torch.zeros(4, 2, device="meta", requires_grad=True)
    layer(x).sum().backward()
    assert (x.grad.shape, layer.weight.grad.shape) == ((4, 2), (4,))


def test_weights_by_the_connectors_second_name() -> None:
    layer = QuantumLayer(build_qnn(SPEC, CompiledEstimator(double=True)), seed=1)
    stock = TorchConnector(layer.neural_network, np.ones(4))
    layer._weights = torch.nn.Parameter(torch.ones(4))
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    x = torch.ones(2, 2)
    torch.testing.assert_close(layer(x), stock(x))
    layer.register_parameter("_weights", torch.nn.Parameter(torch.zeros(4)))
    assert list(layer.state_dict()) == ["weight"]
    layer._weights.data.fill_(1.0)
    torch.testing.assert_close(layer(x), stock(x))
    del layer._weights
    assert not list(layer.parameters())


def test_parametrized_and_functional_weights_are_used() -> None:
    qnn = build_qnn(SPEC, CompiledEstimator(double=True))
    x = torch.ones(2, 2)
    expected = QuantumLayer(qnn, 2 * np.ones(4))(x)
    layer = QuantumLayer(qnn, np.ones(4))
    torch.testing.assert_close(torch.func.functional_call(layer, {"weight": 2 * torch.ones(4)}, (x,)), expected)

    class Double(torch.nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return 2 * weight

    torch.nn.utils.parametrize.register_parametrization(layer, "weight", Double())
    torch.testing.assert_close(layer(x), expected)
