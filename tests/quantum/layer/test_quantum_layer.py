import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import CPhaseGate, RZXGate
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer.noise import NoiseModel, depolarizing_error
from qiskit_aer.primitives import EstimatorV2 as StockAerEstimator
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.neural_networks import EstimatorQNN
from safetensors.torch import load_file, save_file

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.ansatz import build_spec, z_observables
from qhybrid.quantum.circuits.spec import CircuitSpec
from qhybrid.quantum.devices.snapshots import crop, snapshot
from qhybrid.quantum.estimators.aer import AerEstimator
from qhybrid.quantum.estimators.compiled import CompiledEstimator
from qhybrid.quantum.layer.layer import QuantumLayer, build_qnn

X = torch.linspace(-3, 3, 10 * 5).reshape(10, 5)
ANSATZE = ("ry_rz_ladder", "real_amplitudes", "reuploading")


def awkward_spec() -> CircuitSpec:
    """Shared, scaled, multiplied parameters, controlled rotations, u, and observables that are no Z."""
    x, w = ParameterVector("x", 2), ParameterVector("w", 4)
    circuit = QuantumCircuit(3)
    circuit.ry(x[0], 0)
    circuit.ry(0.5 * x[0] + x[1], 1)
    circuit.h(2)
    circuit.crx(w[0] * x[1], 0, 2)
    circuit.cry(w[1] + 0.3, 1, 0)
    circuit.crz(2 * w[0], 2, 1)
    circuit.cp(w[2], 0, 1)
    circuit.u(w[1], w[2].sin(), -w[3], 2)
    circuit.rzx(w[3], 0, 2)
    circuit.cu(w[0], 0.1, w[1], w[2], 1, 2)
    observables = (SparsePauliOp("ZZI"), SparsePauliOp(["XIY", "IZI"], [0.5, -1.5]))
    return CircuitSpec("awkward", circuit, tuple(x), tuple(w), observables)


def gradients(layer: QuantumLayer, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x = x.clone().requires_grad_()
    layer.zero_grad()
    out = layer(x)
    (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)).sum().backward()
    return out.detach(), x.grad, layer.weight.grad.clone()


def double_layer(spec: CircuitSpec, estimator: object) -> QuantumLayer:
    return QuantumLayer(build_qnn(spec, estimator), seed=3).double()


@pytest.fixture
def spec() -> CircuitSpec:
    return build_spec("ry_rz_ladder", 3, 2)


@pytest.mark.parametrize("name", [*ANSATZE, "awkward"])
def test_parameter_shift_equals_adjoint(name: str) -> None:
    spec = awkward_spec() if name == "awkward" else build_spec(name, 3, 2)
    x = torch.randn(4, len(spec.inputs), dtype=torch.double, generator=torch.Generator().manual_seed(0))
    adjoint = gradients(double_layer(spec, CompiledEstimator(double=True)), x)
    for estimator in (StatevectorEstimator(), AerEstimator()):
        shifted = gradients(double_layer(spec, estimator), x)
        for ours, theirs in zip(adjoint, shifted, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)
    assert adjoint[1].abs().max() > 0.1
    assert adjoint[2].abs().min() > 1e-4


def test_agrees_with_the_stock_connector(spec: CircuitSpec) -> None:
    qnn = build_qnn(spec, StatevectorEstimator())
    weights = np.linspace(-1, 1, qnn.num_weights)
    stock, ours = TorchConnector(qnn, weights), QuantumLayer(build_qnn(spec, CompiledEstimator()), weights)
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    for a, b in zip(gradients(stock, x), gradients(ours, x), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


ENGINES = [
    pytest.param("auto", "cpu", id="kernels"),
    pytest.param("torch", "cpu", id="tensors"),
    pytest.param(
        "auto", "cuda", id="cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
    ),
]


@pytest.mark.parametrize(("engine", "device"), ENGINES)
@pytest.mark.parametrize("name", [*ANSATZE, "awkward"])
def test_gradcheck(name: str, engine: str, device: str) -> None:
    spec = awkward_spec() if name == "awkward" else build_spec(name, 2, 2)
    layer = double_layer(spec, CompiledEstimator(double=True, engine=engine)).to(device)
    x = torch.randn(3, len(spec.inputs), dtype=torch.double, requires_grad=True, device=device)
    assert torch.autograd.gradcheck(
        lambda x, w: torch.func.functional_call(layer, {"weight": w}, (x,)), (x, layer.weight)
    )


@pytest.mark.parametrize(("engine", "device"), ENGINES)
@pytest.mark.parametrize("part", [None, 3])
def test_tensors_agree_with_kernels(
    engine: str, device: str, part: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In single precision, a whole batch and in parts, with and without gradients, in the dtype that comes in."""
    spec = build_spec("reuploading", 5, 2)
    if part:
        monkeypatch.setattr("qhybrid.quantum.engine.statevector.tensors.STATE_BUDGET", part * 2**5 * 8)
    expected = gradients(QuantumLayer(build_qnn(spec, CompiledEstimator(double=True)), seed=3).double(), X.double())
    layer = QuantumLayer(build_qnn(spec, CompiledEstimator(engine=engine)), seed=3).to(device)
    for found, exact in zip(gradients(layer, X.to(device)), expected, strict=True):
        assert (found.dtype, found.device.type) == (torch.float32, device)
        torch.testing.assert_close(found.double().cpu(), exact, atol=2e-5, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(layer(X.to(device)).double().cpu(), expected[0], atol=2e-5, rtol=0)
    assert layer(X[:0].to(device)).shape == (0, 5)
    assert layer(X[0].half().to(device)).dtype == torch.float32


def test_is_a_torch_connector_with_one_weight_entry(spec: CircuitSpec, tmp_path: Path) -> None:
    layer = QuantumLayer(build_qnn(spec, CompiledEstimator()), seed=1)
    assert isinstance(layer, TorchConnector)
    assert list(layer.state_dict()) == ["weight"]
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    assert layer._weights is layer.weight
    save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    other = QuantumLayer(build_qnn(spec, CompiledEstimator()), seed=2)
    assert not torch.equal(other.weight, layer.weight)
    other.load_state_dict(load_file(tmp_path / "layer.safetensors"))
    torch.testing.assert_close(other.weight, layer.weight)
    stock = TorchConnector(build_qnn(spec, CompiledEstimator()))
    torch.nn.Sequential(other).load_state_dict(torch.nn.Sequential(stock).state_dict())
    torch.testing.assert_close(other.weight, stock.weight)


def test_deepcopy_is_independent(spec: CircuitSpec) -> None:
    for estimator in (CompiledEstimator(), AerEstimator(), StatevectorEstimator()):
        layer = QuantumLayer(build_qnn(spec, estimator), seed=1)
        twin = copy.deepcopy(layer)
        x = torch.ones(2, 3)
        torch.testing.assert_close(twin(x), layer(x))
        with torch.no_grad():
            twin.weight.add_(0.5)
        assert not torch.allclose(twin(x), layer(x))


def test_shapes_and_dtypes(spec: CircuitSpec) -> None:
    for estimator in (CompiledEstimator(), StatevectorEstimator()):
        layer = QuantumLayer(build_qnn(spec, estimator), seed=1)
        batch = torch.rand(2, 5, 3)
        out = layer(batch)
        assert out.shape == (2, 5, 3)
        torch.testing.assert_close(layer(batch[1, 2]), out[1, 2])
        assert layer(batch.double()).dtype == torch.float64
        assert layer(batch.bfloat16()).dtype == torch.float32
        with torch.no_grad():
            assert not layer(batch).requires_grad
        assert layer(batch[:0]).shape == (0, 5, 3)
    with pytest.raises(CircuitError, match="3 angles"):
        layer(torch.zeros(2, 4))


def test_circuit_without_inputs() -> None:
    w = Parameter("w")
    circuit = QuantumCircuit(1)
    circuit.ry(w, 0)
    spec = CircuitSpec("bare", circuit, (), (w,), z_observables(1))
    for estimator in (CompiledEstimator(), StatevectorEstimator()):
        layer = QuantumLayer(build_qnn(spec, estimator), [0.3])
        out = layer()
        torch.testing.assert_close(out, torch.tensor([np.cos(0.3)], dtype=torch.float32))
        out.sum().backward()
        torch.testing.assert_close(layer.weight.grad, torch.tensor([-np.sin(0.3)], dtype=torch.float32))


class CountingEstimator(StatevectorEstimator):
    """Records the number of parameter sets of each pub, and the precision."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[list[int], float | None]] = []

    def run(self, pubs: object, *, precision: float | None = None) -> object:
        pubs = list(pubs)
        self.calls.append(([len(pub[2]) for pub in pubs], precision))
        return super().run(pubs, precision=precision)


def test_a_training_step_is_one_pub(spec: CircuitSpec) -> None:
    estimator = CountingEstimator()
    layer = QuantumLayer(build_qnn(spec, estimator), seed=1)
    layer(torch.ones(4, 3, requires_grad=True)).sum().backward()
    layer(torch.ones(4, 3)).sum().backward()
    with torch.no_grad():
        layer(torch.ones(4, 3))
    # 3 encoding and 12 weight rotations, two shifts each.
    assert estimator.calls == [([4 * 31], None), ([4 * 25], None), ([4], None)]


def test_a_qnn_with_stock_defaults_gets_input_gradients_and_exact_numbers(spec: CircuitSpec) -> None:
    qnn = EstimatorQNN(
        circuit=spec.circuit,
        estimator=CompiledEstimator(),
        observables=list(spec.observables),
        input_params=spec.inputs,
        weight_params=spec.weights,
    )
    x = torch.ones(1, 3, requires_grad=True)
    layer = QuantumLayer(qnn, seed=1)
    layer(x).sum().backward()
    assert x.grad.abs().max() > 0.1
    torch.testing.assert_close(layer(x), QuantumLayer(build_qnn(spec, CompiledEstimator()), seed=1)(x))


def test_gradient_under_noise_agrees_with_central_differences(spec: CircuitSpec) -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.05, 1), ["ry", "rz"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 2), ["cx"])
    for estimator in (AerEstimator(model), AerEstimator(device=crop(snapshot("fake_manila"), [0, 1, 2]))):
        layer = double_layer(spec, estimator)
        x = torch.linspace(-1, 1, 3, dtype=torch.double)[None]
        _, by_input, by_weight = gradients(layer, x)
        coefficients = torch.linspace(-1, 1, 3, dtype=torch.double)
        step = 1e-4
        with torch.no_grad():
            for k in range(3):
                shift = torch.zeros_like(x)
                shift[0, k] = step
                difference = ((layer(x + shift) - layer(x - shift)) * coefficients).sum() / (2 * step)
                assert float(by_input[0, k]) == pytest.approx(float(difference), abs=1e-6)
            layer.weight[4] += step
            above = (layer(x) * coefficients).sum()
            layer.weight[4] -= 2 * step
            below = (layer(x) * coefficients).sum()
        assert float(by_weight[4]) == pytest.approx(float(above - below) / (2 * step), abs=1e-6)


@pytest.mark.parametrize("name", ["ours", "stock"])
def test_errors_of_whole_gates_stay_where_they_are_in_shifted_circuits(name: str) -> None:
    """Errors on u, and with our estimator on cp: shifts agree with the adjoint under the same channels."""
    model = NoiseModel(basis_gates=["h", "ry", "rx", "cx", "u", "cp", "rzx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 1), ["u"])
    if name == "ours":
        model.add_all_qubit_quantum_error(depolarizing_error(0.2, 2), ["cp"])
    x, w = ParameterVector("x", 2), ParameterVector("w", 3)
    circuit = QuantumCircuit(2)
    circuit.ry(x[0], 0)
    circuit.u(w[0], x[1], -w[1], 1)
    circuit.append((CPhaseGate if name == "ours" else RZXGate)(w[2] * x[0]), [1, 0])
    circuit.rx(0.4, [0, 1])
    circuit.u(0.3, w[1].sin(), w[0], 0)
    spec = CircuitSpec("whole", circuit, tuple(x), tuple(w), (SparsePauliOp("ZZ"), SparsePauliOp(["XI", "IZ"])))
    shifting = AerEstimator(model)
    if name == "stock":
        options = {"default_precision": 0.0, "backend_options": {"noise_model": model, "method": "density_matrix"}}
        shifting = StockAerEstimator(options=options)
    angles = torch.tensor([[0.3, -1.1], [2.0, 0.7]], dtype=torch.double)
    adjoint = gradients(double_layer(spec, CompiledEstimator(model, double=True)), angles)
    for shifted, expected in zip(gradients(double_layer(spec, shifting), angles), adjoint, strict=True):
        torch.testing.assert_close(shifted, expected, atol=1e-8, rtol=0)
    ideal = gradients(double_layer(spec, CompiledEstimator(double=True)), angles)
    assert float((adjoint[0] - ideal[0]).abs().max()) > 0.05


def test_second_derivatives_are_refused(spec: CircuitSpec) -> None:
    layer = QuantumLayer(build_qnn(spec, CompiledEstimator()), seed=1)
    (first,) = torch.autograd.grad(layer(torch.ones(1, 3)).sum(), layer.weight, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives of a QuantumLayer"):
        first.sum().backward()


def test_loss_falls_under_device_noise() -> None:
    spec = build_spec("ry_rz_ladder", 2, 1)
    layer = QuantumLayer(build_qnn(spec, AerEstimator(device=crop(snapshot("fake_manila"), [0, 1]))), seed=0)
    x = torch.linspace(-1, 1, 8).reshape(4, 2)
    target = torch.tensor([[0.5, -0.5]]).expand(4, 2)
    optimizer = torch.optim.Adam(layer.parameters(), 0.2)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = (layer(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_wrong_arguments_are_refused(spec: CircuitSpec) -> None:
    with pytest.raises(CircuitError, match="12 weights"):
        QuantumLayer(build_qnn(spec, CompiledEstimator()), [0.1])
    with pytest.raises(CircuitError, match="EstimatorQNN"):
        QuantumLayer(torch.nn.Linear(1, 1))
    with pytest.raises(CircuitError, match="engine `jax`"):
        CompiledEstimator(engine="jax")


@pytest.mark.parametrize("gradient", ["auto", "spsa"])
def test_stock_aer_gets_no_gate_whose_angle_it_forgets(gradient: str) -> None:
    """The stock connector computes something else here; if that ends, Aer is mended and our detour can go."""
    x, w = ParameterVector("x", 1), ParameterVector("w", 2)
    circuit = QuantumCircuit(2)
    circuit.ry(x[0], 0)
    circuit.ry(1.0, 1)
    circuit.cp(w[0], 0, 1)
    circuit.crx(w[1], 0, 1)
    spec = CircuitSpec("controlled", circuit, tuple(x), tuple(w), (SparsePauliOp("ZI"),))
    stock = StockAerEstimator(options={"default_precision": 0.0})
    angles = torch.tensor([[0.8]], dtype=torch.double)
    exact = QuantumLayer(build_qnn(spec, CompiledEstimator(double=True)), [0.9, 0.7]).double()
    layer = QuantumLayer(build_qnn(spec, stock), [0.9, 0.7], gradient=gradient).double()
    torch.testing.assert_close(layer(angles), exact(angles), atol=1e-10, rtol=0)
    wrong = TorchConnector(build_qnn(spec, stock), np.array([0.9, 0.7]))(angles.float())
    assert (wrong - exact(angles)).detach().abs().max() > 0.01
