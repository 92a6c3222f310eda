"""Jobs that outlive the process that sent them."""

import pytest
from hardware_runs import MakeRun
from loopback import Loopback

import hardware
from hardware.errors import HardwareError
from hardware.jobs.job_log import JobLog
from qhybrid.config import HardwareConfig
from qhybrid.models.unet import UNet

OPTIONS = HardwareConfig(backend="ibm_manila", images=1, steps=2, qpu_steps=[1], shots=16)


class Lost(BaseException):
    """The process dies."""


def test_a_job_whose_line_was_lost_is_found_by_its_tags_and_its_angles_are_not_computed_again(
    service: Loopback, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine's last digits would make another job of the same step."""

    def die(self: JobLog, event: str, **fields: object) -> None:
        raise Lost

    run = make_run(qubits=2)
    with monkeypatch.context() as patch:
        patch.setattr(JobLog, "append", die)
        with pytest.raises(Lost):
            hardware.infer(run, OPTIONS, yes=True)
    assert (len(service.jobs), (run.hardware / "jobs.jsonl").exists()) == (1, False)
    genuine = UNet.core_inputs
    monkeypatch.setattr(UNet, "core_inputs", lambda self, encoded, labels=None: genuine(self, encoded, labels) + 1e-5)
    hardware.infer(run, OPTIONS, yes=True, resume=True)
    assert len(service.jobs) == 1


def test_a_real_device_needs_a_yes(service: Loopback, make_run: MakeRun) -> None:
    run = make_run(qubits=2)
    for send in (hardware.infer, hardware.submit):
        with pytest.raises(HardwareError, match=r"`ibm_manila` is a real device: add --yes to send 1 jobs"):
            send(run, OPTIONS)
    assert not run.hardware.exists()
    assert service.jobs == []
