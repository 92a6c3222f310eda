"""`torch.compile` takes the layer as one operator: one graph, equal numbers, no line about failures."""

import copy
import logging
import warnings

import pytest
import torch
from qiskit.primitives import StatevectorEstimator

from qhybrid.quantum.circuits.ansatz import build_spec
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.layer.layer import QuantumLayer, build_qnn
from qhybrid.quantum.layer.opaque import expectation_values, register

SPEC = build_spec("ry_rz_ladder", 2, 1)


def hybrid(estimator: object) -> torch.nn.Module:
    torch.manual_seed(1)
    layer = QuantumLayer(build_qnn(SPEC, estimator), seed=1)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), layer, torch.nn.Linear(2, 1))


def step(model: torch.nn.Module, source: torch.nn.Module) -> list[torch.Tensor]:
    source.zero_grad()
    out = model(torch.linspace(-1, 1, 12).reshape(4, 3))
    out.square().sum().backward()
    return [out.detach(), *(parameter.grad.clone() for parameter in source.parameters())]


@pytest.mark.parametrize(
    "estimator", [CompiledEstimator(), CompiledEstimator(shots=50, seed=1), StatevectorEstimator()]
)
def test_compiled_models_are_one_graph_with_equal_numbers(
    estimator: object, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    model = hybrid(estimator)
    expected = step(model, model)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    capfd.readouterr()
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        found = step(compiled, model)
        again = step(compiled, model)
    assert (capfd.readouterr(), caplog.records) == (("", ""), [])
    for first, second, third in zip(expected, found, again, strict=True):
        torch.testing.assert_close(second, first, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(third, first, atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(compiled(torch.ones(2, 3)), model(torch.ones(2, 3)))


def test_copies_are_layers_of_their_own() -> None:
    model = hybrid(CompiledEstimator())
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin[1].weight.add_(1.0)
    expected = twin(torch.ones(2, 3)).detach()
    torch.testing.assert_close(torch.compile(twin, backend="aot_eager")(torch.ones(2, 3)).detach(), expected)


def test_the_operator_keeps_torchs_rules() -> None:
    layer = QuantumLayer(build_qnn(SPEC, CompiledEstimator(double=True)), seed=1)
    rows = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(3, 2).requires_grad_()
    number = register(layer)
    # One backward pass after another: the second finds nothing waiting and computes it again.
    outputs = expectation_values(rows, layer.weight, number, 2, True, True)[0]
    first = torch.autograd.grad(outputs.sum(), [rows, layer.weight], retain_graph=True)
    second = torch.autograd.grad(outputs.sum(), [rows, layer.weight])
    expected = torch.autograd.grad(layer(rows).sum(), [rows, layer.weight])
    for values in zip(first, second, expected, strict=True):
        torch.testing.assert_close(values[0], values[2])
        torch.testing.assert_close(values[1], values[2])
