"""The contract of `BaseEstimatorV2`, for both estimators; what Qiskit's own tests expect of `StatevectorEstimator`."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import PrimitiveJob, StatevectorEstimator
from qiskit.primitives.base import BaseEstimatorV2
from qiskit.primitives.containers import BindingsArray, ObservablesArray, PrimitiveResult, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import Pauli, SparseObservable, SparsePauliOp

from qhybrid.errors import CircuitError
from qhybrid.quantum.circuits.ansatz import build_spec
from qhybrid.quantum.estimators.aer import AerEstimator
from qhybrid.quantum.estimators.compiled import CompiledEstimator

A, B = Parameter("a"), Parameter("b")
KINDS = (CompiledEstimator, AerEstimator)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> type[BaseEstimatorV2]:
    return request.param


@pytest.fixture
def circuit() -> QuantumCircuit:
    circuit = QuantumCircuit(2, metadata={"origin": "test"})
    # Named so that the order of appearance is not the order of `circuit.parameters`.
    circuit.ry(B, 0)
    circuit.cx(0, 1)
    circuit.rx(A, 1)
    return circuit


def test_results_are_those_of_a_primitive(kind: type[BaseEstimatorV2], circuit: QuantumCircuit) -> None:
    job = kind().run([(circuit, "ZZ", [0.1, 0.2]), (circuit, "XX", [0.1, 0.2])])
    assert isinstance(job, PrimitiveJob)
    assert job.job_id()
    result = job.result()
    assert isinstance(result, PrimitiveResult)
    assert isinstance(result[0], PubResult)
    assert (len(result), result.metadata["version"]) == (2, 2)
    assert result[0].metadata["circuit_metadata"] == {"origin": "test"}
    assert set(result[0].data) == {"evs", "stds"}
    assert result[0].data.evs.dtype == result[0].data.stds.dtype == np.float64
    assert len(kind().run([]).result()) == 0


SHAPES = [
    ((), ()),
    ((), (3,)),
    ((4,), ()),
    ((4,), (4,)),
    ((4, 1), (3,)),
    ((4, 1), (1, 3)),
    ((2, 1, 3), (4, 1)),
    ((1,), (5,)),
    ((0,), ()),
    ((), (0,)),
    ((2, 1), (0,)),
]


@pytest.mark.parametrize(("observables", "points"), SHAPES, ids=str)
def test_shapes_broadcast(
    kind: type[BaseEstimatorV2], circuit: QuantumCircuit, observables: tuple[int, ...], points: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(1)
    labels = np.array(["".join(rng.choice(list("IXYZ"), 2)) for _ in range(math.prod(observables))], dtype=object)
    values = rng.uniform(-3, 3, (*points, 2))
    pub = (circuit, ObservablesArray(labels.reshape(observables)) if observables else str(labels[0]), values)
    expected = StatevectorEstimator().run([pub]).result()[0].data
    found = kind().run([pub]).result()[0].data
    assert found.evs.shape == found.stds.shape == found.shape == np.broadcast_shapes(observables, points)
    np.testing.assert_allclose(found.evs, expected.evs, atol=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        [0.3, 0.4],
        np.array([0.3, 0.4]),
        {"a": 0.3, "b": 0.4},
        {A: 0.3, B: 0.4},
        {("b", "a"): [0.4, 0.3]},
        {(A, B): [0.3, 0.4]},
        BindingsArray({("a",): [0.3], ("b",): [0.4]}),
    ],
    ids=str,
)
def test_values_in_every_form(kind: type[BaseEstimatorV2], circuit: QuantumCircuit, values: object) -> None:
    expected = StatevectorEstimator().run([(circuit, "ZX", [0.3, 0.4])]).result()[0].data.evs
    found = kind().run([(circuit, "ZX", values)]).result()[0].data.evs
    np.testing.assert_allclose(np.ravel(found), np.ravel(expected), atol=1e-6)


@pytest.mark.parametrize(
    "observable",
    [
        "ZX",
        Pauli("-ZX"),
        SparsePauliOp(["ZX", "II"], [2.0, 0.5]),
        SparsePauliOp(["ZX", "ZX"], [2.0, 0.5]),
        {"ZX": 0.3, "YY": -2},
        SparseObservable("ZX"),
        SparsePauliOp("II"),
    ],
    ids=str,
)
def test_observables_in_every_form(kind: type[BaseEstimatorV2], circuit: QuantumCircuit, observable: object) -> None:
    pub = (circuit, observable, [0.3, 0.4])
    expected = StatevectorEstimator().run([pub]).result()[0].data.evs
    np.testing.assert_allclose(kind().run([pub]).result()[0].data.evs, expected, atol=1e-6)


def test_projectors(kind: type[BaseEstimatorV2], circuit: QuantumCircuit) -> None:
    """Letters that Qiskit's observables have and its reference estimator lacks."""
    written_out = SparsePauliOp(["II", "ZI", "IX", "ZX"], [0.25] * 4)
    expected = StatevectorEstimator().run([(circuit, written_out, [0.3, 0.4])]).result()[0].data.evs
    assert kind().run([(circuit, "0+", [0.3, 0.4])]).result()[0].data.evs == pytest.approx(expected, abs=1e-6)


def test_pubs_may_come_from_an_iterator(kind: type[BaseEstimatorV2], circuit: QuantumCircuit) -> None:
    def pubs() -> Iterator[object]:
        yield (circuit, "ZZ", [0.1, 0.2])
        yield EstimatorPub.coerce((circuit, ["XX", "YY"], [0.1, 0.2]))

    result = kind().run(pubs()).result()
    assert [pub.data.evs.shape for pub in result] == [(), (2,)]
    assert len(kind().run(iter([(circuit, "ZZ", [0.1, 0.2])])).result()) == 1


def test_circuits_without_parameters(kind: type[BaseEstimatorV2]) -> None:
    circuit = QuantumCircuit(1)
    circuit.ry(0.7, 0)
    for pub in ((circuit, "Z"), (circuit, "Z", None), (circuit, "Z", []), (circuit, "Z", {})):
        assert kind().run([pub]).result()[0].data.evs == pytest.approx(np.cos(0.7), abs=1e-6)
    many = kind().run([(circuit, ["Z", "X"], np.zeros((2, 0)))]).result()[0].data.evs
    np.testing.assert_allclose(many, [np.cos(0.7), np.sin(0.7)], atol=1e-6)
    assert kind().run([(QuantumCircuit(1), ["Z", "X", "I"])]).result()[0].data.evs == pytest.approx([1, 0, 1])


def test_the_precision_of_a_pub_comes_before_that_of_the_run(
    kind: type[BaseEstimatorV2], circuit: QuantumCircuit
) -> None:
    plain, own = (circuit, "ZZ", [0.1, 0.2]), (circuit, "ZZ", [0.1, 0.2], 0.03)
    result = kind().run([plain, own, EstimatorPub.coerce(plain)], precision=0.05).result()
    assert [pub.metadata["target_precision"] for pub in result] == [0.05, 0.03, 0.05]


@pytest.mark.parametrize("shots", [None, 400])
def test_without_a_precision_the_estimators_own_is_stated(
    kind: type[BaseEstimatorV2], circuit: QuantumCircuit, shots: int | None
) -> None:
    estimator = kind(shots=shots, seed=1)
    assert estimator.default_precision == (0.0 if shots is None else 0.05)
    for pub in ((circuit, "ZZ", [0.1, 0.2]), EstimatorPub.coerce((circuit, "ZZ", [0.1, 0.2]))):
        metadata = estimator.run([pub]).result()[0].metadata
        assert metadata["target_precision"] == estimator.default_precision
        assert metadata.get("shots") == shots


@pytest.mark.parametrize("precision", [0.1, 0.02, 1.0, 3.0])
def test_shots_follow_the_precision(kind: type[BaseEstimatorV2], circuit: QuantumCircuit, precision: float) -> None:
    result = kind(shots=100, seed=1).run([(circuit, "XX", [0.1, 0.2])], precision=precision).result()[0]
    shots = max(1, round(1 / precision**2))
    assert result.metadata["shots"] == shots
    counts = (result.data.evs + 1) / 2 * shots
    assert counts == pytest.approx(round(counts), abs=1e-6)
    assert result.data.stds <= 1.1 * precision


def test_precision_0_asks_for_exact_values(kind: type[BaseEstimatorV2], circuit: QuantumCircuit) -> None:
    expected = StatevectorEstimator().run([(circuit, "XX", [0.1, 0.2])]).result()[0].data.evs
    for pub, precision in (((circuit, "XX", [0.1, 0.2]), 0), ((circuit, "XX", [0.1, 0.2], 0.0), 0.1)):
        data = kind(shots=100, seed=1).run([pub], precision=precision).result()[0].data
        assert (data.evs, data.stds) == (pytest.approx(expected, abs=1e-6), 0)


def test_seeds(kind: type[BaseEstimatorV2], circuit: QuantumCircuit) -> None:
    pub = (circuit, ["ZZ", "XX"], np.linspace(-1, 1, 20).reshape(10, 1, 2))
    first, again, other, free, free_again = (
        kind(shots=1000, seed=seed).run([pub]).result()[0].data.evs for seed in (1, 1, 2, None, None)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(free, free_again)


def test_standard_errors_are_those_of_the_mean(kind: type[BaseEstimatorV2], circuit: QuantumCircuit) -> None:
    points = np.repeat([[0.4, 1.3]], 200, axis=0)
    data = kind(shots=256, seed=3).run([(circuit, SparsePauliOp(["ZZ", "ZI"], [1, 0.5]), points)]).result()[0].data
    assert data.evs.std() == pytest.approx(data.stds.mean(), rel=0.2)


@pytest.mark.parametrize(
    ("pub", "error"),
    [
        (lambda c: (c, "ZZ"), ValueError),
        (lambda c: (c, "ZZ", [0.1]), ValueError),
        (lambda c: (c, "ZZ", [0.1, 0.2, 0.3]), ValueError),
        (lambda c: (c, "ZZ", {"a": 0.1}), ValueError),
        (lambda c: (c, "ZZ", {"a": 0.1, "c": 0.2}), (ValueError, KeyError)),
        (lambda c: (c, "Z", [0.1, 0.2]), ValueError),
        (lambda c: (c, "ZZZ", [0.1, 0.2]), ValueError),
        (lambda c: (c, ["ZZ", "Z"], [0.1, 0.2]), ValueError),
        (lambda c: (c, "QQ", [0.1, 0.2]), ValueError),
        (lambda c: (c, ["ZZ"] * 3, np.zeros((2, 2))), ValueError),
        (lambda c: (c, "ZZ", [0.1, 0.2], -0.1), ValueError),
        (lambda c: (c, "ZZ", [0.1, 0.2], "fine"), TypeError),
        (lambda c: (c, "ZZ", [0.1, 0.2], 0.1, "more"), ValueError),
        (lambda c: c, ValueError),
        (lambda c: ("circuit", "ZZ", [0.1, 0.2]), (TypeError, AttributeError)),
    ],
)
def test_what_does_not_fit_is_refused(
    kind: type[BaseEstimatorV2], circuit: QuantumCircuit, pub: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        kind().run([pub(circuit)]).result()


def test_a_single_pub_without_a_list_is_refused(kind: type[BaseEstimatorV2], circuit: QuantumCircuit) -> None:
    with pytest.raises(ValueError, match="wrap it"):
        kind().run((circuit, "ZZ", [0.1, 0.2]))
    for precision, error in ((-1, ValueError), ("fine", TypeError)):
        with pytest.raises(error):
            kind().run([(circuit, "ZZ", [0.1, 0.2])], precision=precision)


def test_pubs_that_were_not_validated_are_checked(kind: type[BaseEstimatorV2]) -> None:
    pub = EstimatorPub(QuantumCircuit(3), ObservablesArray("ZZ"), validate=False)
    with pytest.raises(CircuitError, match="acts on 2 qubits and the circuit has 3"):
        kind().run([pub]).result()


@pytest.mark.parametrize("precision", [math.nan, math.inf, 1e-9])
def test_precisions_that_no_number_of_shots_reaches_are_refused(
    kind: type[BaseEstimatorV2], circuit: QuantumCircuit, precision: float
) -> None:
    with pytest.raises(CircuitError, match="precision"):
        kind(shots=10).run([(circuit, "ZZ", [0.1, 0.2])], precision=precision).result()


def test_shots_below_1_are_refused(kind: type[BaseEstimatorV2]) -> None:
    with pytest.raises(CircuitError, match="0 shots"):
        kind(shots=0)


def test_complex_coefficients_are_refused(kind: type[BaseEstimatorV2], circuit: QuantumCircuit) -> None:
    with pytest.raises((CircuitError, ValueError)):
        kind().run([(circuit, SparsePauliOp(["ZZ"], [1j]), [0.1, 0.2])]).result()


def test_pubs_of_many_sizes_in_one_job_equal_pubs_alone(kind: type[BaseEstimatorV2]) -> None:
    pubs = []
    for qubits in (3, 1, 2):
        spec = build_spec("ry_rz_ladder", qubits, 1)
        points = np.random.default_rng(qubits).uniform(-3, 3, (2, len(spec.circuit.parameters)))
        pubs.append((spec.circuit, [[observable] for observable in spec.observables], points))
    together = kind().run(pubs).result()
    for pub, result in zip(pubs, together, strict=True):
        expected = StatevectorEstimator().run([pub]).result()[0].data.evs
        np.testing.assert_allclose(result.data.evs, expected, atol=1e-6)
        np.testing.assert_array_equal(kind().run([pub]).result()[0].data.evs, result.data.evs)
