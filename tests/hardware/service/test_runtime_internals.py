"""What is used of the client beyond its public interface, tried on the client itself: a changed version fails."""

import pytest
from loopback import Loopback
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.api.exceptions import RequestsApiError

from hardware.service import runtime_internals as internals
from hardware.service.backends import open_backend
from hardware.service.outages import Outage, RepeatedReads
from qhybrid.quantum.devices.snapshots import snapshot


def test_a_backend_tells_its_instance_its_client_and_its_usage(service: Loopback) -> None:
    backend = open_backend("ibm_manila")
    crns = {item["crn"] for item in backend.service.instances()}
    assert internals.instance_of(backend) in crns
    client = internals.api_client(backend)
    assert callable(client.job_get)
    assert internals.plan_usage(backend) == client.cloud_usage()
    assert any("seconds" in name for name in internals.plan_usage(backend))


def test_every_request_of_a_service_can_be_limited(service: Loopback) -> None:
    with internals.requests_by(RepeatedReads(outage=Outage(print, "it")), (1.5, 2.5)):
        opened = QiskitRuntimeService()
    client = internals.api_client(opened.backend("ibm_manila"))
    # What the client hands to `requests` with each request.
    assert client._session._timeout == (1.5, 2.5)


def test_only_requests_that_make_nothing_are_repeated(service: Loopback) -> None:
    with internals.requests_by(RepeatedReads(outage=Outage(print, "it")), (3.0, 60.0)):
        opened = QiskitRuntimeService()
    client = internals.api_client(opened.backend("ibm_manila"))
    for method, path, ask in (
        ("POST", "/jobs", lambda: client.program_run("executor", "ibm_manila", {}, None, None, None)),
        ("POST", "/sessions", lambda: client.create_session("ibm_manila", mode="batch")),
        ("GET", "/instances/usage", client.cloud_usage),
    ):
        before = service.count(method, path)
        service.fail(method, path, status=504)
        if method == "POST":
            with pytest.raises(RequestsApiError) as caught:
                ask()
            assert caught.value.status_code == 504
        else:
            ask()
        assert service.count(method, path) - before == (1 if method == "POST" else 2)
    assert (service.jobs, service.state.sessions) == ([], {})


def test_an_isa_circuit_has_no_violation_and_another_names_it() -> None:
    target = snapshot("fake_manila").target
    good, bad = QuantumCircuit(5), QuantumCircuit(5)
    good.cx(0, 1)
    bad.cx(0, 4)
    assert internals.isa_violation(good, target) == ""
    assert "cx" in internals.isa_violation(bad, target)


def test_saved_tokens_are_read_and_a_damaged_file_has_none(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    from qiskit_ibm_runtime.accounts import management

    file = tmp_path / "accounts.json"
    monkeypatch.setattr(management, "_DEFAULT_ACCOUNT_CONFIG_JSON_FILE", str(file))
    assert internals.saved_tokens() == []
    QiskitRuntimeService.save_account(
        channel="ibm_quantum_platform", token="a" * 44, instance="crn:v1:x", filename=str(file)
    )
    assert internals.saved_tokens() == ["a" * 44]
    file.write_text("{")
    assert internals.saved_tokens() == []
