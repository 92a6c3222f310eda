"""A device that cannot be opened: what failed is said in one line, not that the account does not offer it."""

import pytest
from hardware_runs import Command
from loopback import Loopback

from hardware.errors import BackendError
from hardware.service.account import known_seconds_left
from hardware.service.backends import describe_backend, ibm_backends, open_backend
from qhybrid.rundir import RunDirectory


@pytest.mark.parametrize("path", ["/backends", "/backends/ibm_manila/configuration", "/backends/ibm_manila/properties"])
def test_a_refusal_while_a_device_is_looked_for_is_named(path: str, service: Loopback) -> None:
    service.fail("GET", path, status=403, body="no access to this instance", times=99)
    with pytest.raises(BackendError, match=r"backend `ibm_manila` cannot be opened: .*403") as caught:
        open_backend("ibm_manila")
    assert "does not offer" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_refused_list_of_devices_is_no_empty_list(service: Loopback) -> None:
    service.fail("GET", "/backends", status=403, times=99)
    with pytest.raises(BackendError, match=r"devices cannot be listed: .*403"):
        ibm_backends()


def test_a_device_that_is_not_offered_is_still_said_to_be_so(service: Loopback) -> None:
    with pytest.raises(BackendError, match="the account does not offer it"):
        open_backend("ibm_nowhere")


def test_usage_and_status_that_are_refused_are_unknown(service: Loopback) -> None:
    device = open_backend("ibm_manila")
    service.fail("GET", "/instances/usage", status=403, times=99)
    service.fail("GET", "/backends/ibm_manila/status", status=403, times=99)
    row = describe_backend("ibm_manila", device)
    assert (row.queue, row.seconds_left, "403" in str(row.status)) == (None, None, True)
    assert known_seconds_left(device) is None


def test_a_plan_without_usage_has_no_traceback(service: Loopback, run: RunDirectory, command: Command) -> None:
    service.fail("GET", "/instances/usage", status=403, times=99)
    code, out, _ = command("plan", run.path, "--backend", "ibm_manila", "--images", "1", "--steps", "1", "--json")
    assert (code, '"remaining_seconds": null' in out) == (0, True)
