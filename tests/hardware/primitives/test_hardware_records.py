"""Results in the client's own JSON: what comes back is what the device gave."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hardware_runs import MakeRun
from loopback import Loopback
from qiskit.primitives import PrimitiveResult
from qiskit_ibm_runtime import RuntimeDecoder

import hardware
from hardware.errors import HardwareError
from hardware.primitives.client_results import read_primitive_results, write_primitive_results
from qhybrid.config import HardwareConfig
from qhybrid.rundir import RunDirectory

LOCAL = HardwareConfig(backend="fake_torino", images=4, steps=2, qpu_steps=[1], shots=64, pack=2)


def stored(run: RunDirectory) -> tuple[Path, dict[str, Any]]:
    (path,) = (run.hardware / "results").glob("*.json")
    with np.load(path.with_suffix(".npz")) as file:
        return path, dict(file)


def test_estimator_results_come_back_with_values_errors_and_metadata(run: RunDirectory) -> None:
    hardware.infer(run, LOCAL.model_copy(update={"level": 2}))
    path, arrays = stored(run)
    copies = read_primitive_results(path)
    assert len(copies) == 2
    for number, result in enumerate(copies):
        data = result[0].data
        np.testing.assert_array_equal(data.evs.T, arrays["values"][number::2])
        np.testing.assert_array_equal(
            np.where(np.isfinite(data.stds), data.stds, np.nan).T, arrays["errors"][number::2]
        )
        assert data.evs_noise_factors.shape == (3, 2, 3)
        assert result.metadata["options"]["resilience_level"] == 2
        assert isinstance(result.metadata["executor"], dict)


def test_sampler_results_come_back_with_every_bit(run: RunDirectory) -> None:
    hardware.infer(run, LOCAL.model_copy(update={"primitive": "sampler", "pack": 1, "readout_mitigation": False}))
    path, arrays = stored(run)
    (result,) = json.loads(path.read_text(), cls=RuntimeDecoder)
    bits = result[0].data.measured.to_bool_array(order="little")
    assert bits.shape == (4, 64, 3)
    np.testing.assert_allclose((1 - 2.0 * bits).mean(axis=1), arrays["values"])


def test_a_result_of_the_service_is_kept_as_well(service: Loopback, make_run: MakeRun) -> None:
    run = make_run(qubits=2)
    hardware.infer(
        run, LOCAL.model_copy(update={"backend": "ibm_manila", "images": 2, "pack": 1, "level": 1}), yes=True
    )
    path, arrays = stored(run)
    (result,) = read_primitive_results(path)
    np.testing.assert_array_equal(result[0].data.evs.T, arrays["values"])
    assert result.metadata["options"]["resilience"]["measure_mitigation"]


def test_metadata_that_the_client_cannot_encode_costs_no_result(tmp_path: Path) -> None:
    class Novelty:
        def __str__(self) -> str:
            return "of a later version"

    path = tmp_path / "result.json"
    metadata = {"new": Novelty(), "count": np.int32(3), "flag": np.bool_(True), "ratio": np.float32(0.5)}
    write_primitive_results(path, [PrimitiveResult([], metadata)])
    (found,) = read_primitive_results(path)
    assert found.metadata == {"new": "of a later version", "count": 3, "flag": True, "ratio": 0.5}


@pytest.mark.parametrize("text", ["", "[1, 2", "[1, 2]", "{}"])
def test_a_damaged_or_foreign_file_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(HardwareError, match=r"result\.json"):
        read_primitive_results(path)
