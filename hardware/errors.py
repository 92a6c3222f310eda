"""Errors of the road to a device; like every `QHybridError`, one clear line and exit code 2."""

from qhybrid.errors import QHybridError


class HardwareError(QHybridError):
    """Root of this package's errors: something asked of a device that it cannot or must not do."""


class BackendError(HardwareError):
    """A backend that does not exist, or that no account gives access to."""


class UnreachableError(BackendError):
    """A service that does not answer at present: asking again later may help."""


class BudgetError(HardwareError, ValueError):
    """A plan that takes more device time than allowed."""


class OtherOptionsError(HardwareError):
    """A run that was planned with other options than it is asked to go on with."""


class JobError(HardwareError):
    """A job that failed, was cancelled, or whose result is not what was asked for."""


class ResultError(JobError):
    """A job that is done, but whose result is damaged, cut short or not the one asked for."""


class UnknownJobError(JobError):
    """A job that was sent and that the service does not know any more."""


class JobPendingError(JobError):
    """A job that was sent and has no result yet: come back later with `fetch`."""
