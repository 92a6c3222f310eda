import pytest

from qhybrid.benchmarks.layer import compare, interleave
from qhybrid.benchmarks.peers import CONTENDERS, OURS, Contender
from qhybrid.benchmarks.report import measure_layer, row_lines
from qhybrid.errors import ConfigError


def test_comparison_without_peers() -> None:
    (row,) = compare([2], peers=False, repeats=1)
    assert row["contenders"][OURS]["ms"] > 0
    assert [OURS in line for line in row_lines(row)] == [True]


def test_a_contender_that_computes_something_else_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(problem: object) -> object:
        step = CONTENDERS[OURS].build(problem)
        return lambda: tuple(part + 1 for part in step())

    monkeypatch.setattr(
        "qhybrid.benchmarks.layer.CONTENDERS", {OURS: CONTENDERS[OURS], "wrong": Contender("wrong", wrong)}
    )
    with pytest.raises(ArithmeticError, match="differ"):
        list(compare([2], repeats=1))


def test_slow_steps_get_fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def takes(seconds: float) -> None:
        clock[0] += seconds

    times = interleave({"slow": lambda: takes(4.0), "fast": lambda: takes(0.1)}, repeats=5, budget=10.0)
    assert times["slow"] == pytest.approx([4.0, 4.0])
    assert times["fast"] == pytest.approx([0.1] * 5)


def test_sizes_must_be_numbers() -> None:
    with pytest.raises(ConfigError, match="--qubits 4,x"):
        measure_layer("4,x", peers=False, growth=False, repeats=1, budget=1.0, json_file=None, echo=print)
