import os

import numpy as np
import pytest

from qhybrid.benchmarks import peers
from qhybrid.benchmarks.layer import compare, difference
from qhybrid.benchmarks.peers import OURS
from qhybrid.benchmarks.report import measure_layer, row_lines
from qhybrid.benchmarks.turns import Worker, interleave, timer
from qhybrid.errors import ConfigError


def test_comparison_without_peers() -> None:
    (row,) = compare([2], peers=False, repeats=1)
    assert row["contenders"][OURS]["ms"] > 0
    assert [OURS in line for line in row_lines(row)] == [True]


def test_a_contender_that_computes_something_else_is_an_error() -> None:
    ours = [np.ones((2, 3)), np.ones((2, 3)), np.ones(4)]
    assert difference(ours, ours) == 0
    for wrong in ([part + 1 for part in ours], [part * np.nan for part in ours], [part[:1] for part in ours]):
        with pytest.raises(ArithmeticError, match="contender"):
            difference(wrong, ours)


def test_contenders_have_processes_of_their_own_and_the_threads_they_are_given() -> None:
    program = """
import os, sys, numpy as np
from qhybrid.benchmarks.turns import serve
print("a library says something")
np.savez(sys.argv[1], np.array([os.getpid(), int(os.environ["OMP_NUM_THREADS"]), len(os.sched_getaffinity(0))]))
serve(lambda: None)
"""
    with Worker(program, 1) as first, Worker(program, 1) as second:
        answers = [worker.start()[0] for worker in (first, second)]
        assert len({os.getpid(), *(int(answer[0]) for answer in answers)}) == 3
        assert [answer[1:].tolist() for answer in answers] == [[1, 1], [1, 1]]
        assert 0 < first.timed(3) < 1
    with Worker("from qhybrid.benchmarks.turns import serve; serve(None, 'not installed')", 1) as worker:
        assert worker.start() == "not installed"
    with Worker("raise ValueError('broken')", 1) as worker, pytest.raises(RuntimeError, match="broken"):
        worker.start()


def test_signs_of_probabilities_give_the_expectation_values_of_qiskit() -> None:
    from qiskit.quantum_info import SparsePauliOp, Statevector, random_statevector

    state = random_statevector(8, seed=3)
    given = np.asarray(Statevector(state).reverse_qargs().probabilities()) @ peers.z_signs(3)
    expected = [state.expectation_value(SparsePauliOp.from_sparse_list([("Z", [q], 1)], 3)).real for q in range(3)]
    assert given == pytest.approx(expected)


def test_slow_steps_get_fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def takes(seconds: float) -> None:
        clock[0] += seconds

    timers = {"slow": timer(lambda: takes(4.0)), "fast": timer(lambda: takes(0.1))}
    times = interleave(timers, repeats=5, budget=10.0)
    assert times["slow"] == pytest.approx([4.0, 4.0])
    assert times["fast"] == pytest.approx([0.1] * 5)


def test_sizes_must_be_numbers() -> None:
    with pytest.raises(ConfigError, match="--qubits 4,x"):
        measure_layer("4,x", peers=False, growth=False, repeats=1, budget=1.0, json_file=None, echo=print)
