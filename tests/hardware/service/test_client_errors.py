"""Which errors are the client's: its own are judged, ours stay what they are."""

import json
import socket

import pytest
import requests
from hardware_runs import MakeRun
from ibm_cloud_sdk_core import ApiException
from loopback import Loopback
from qiskit_ibm_runtime.exceptions import IBMRuntimeError

import hardware
from hardware.primitives import execution
from hardware.service.client_faults import client_errors
from qhybrid.config import HardwareConfig


@pytest.mark.parametrize(
    "error",
    [
        IBMRuntimeError("refused"),
        ApiException(500, message="down"),
        requests.ConnectionError("cut"),
        requests.Timeout("late"),
        json.JSONDecodeError("no JSON", "<html>", 0),
        ConnectionResetError("reset"),
        socket.timeout("late"),  # noqa: UP041  (as sockets name it)
    ],
)
def test_what_the_service_or_the_network_does_is_the_clients(error: Exception) -> None:
    assert isinstance(error, client_errors())


@pytest.mark.parametrize(
    "error", [ValueError("ours"), FileNotFoundError("ours"), PermissionError(), KeyError(), TypeError()]
)
def test_a_fault_of_our_own_is_not(error: Exception) -> None:
    assert not isinstance(error, client_errors())


def test_a_fault_while_a_job_is_made_is_no_refusal_by_the_service(
    service: Loopback, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(qubits=2)
    config = HardwareConfig(backend="ibm_manila", images=2, steps=1, qpu_steps=[0], shots=32, pack=1)
    hardware.plan(run, config)

    def broken(*arguments: object) -> None:
        raise ValueError("shapes do not fit")

    monkeypatch.setattr(execution, "_pubs", broken)
    with pytest.raises(ValueError, match=r"^shapes do not fit$"):
        hardware.submit(run, config, yes=True)
    assert not service.jobs
