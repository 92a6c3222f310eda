"""Exceptions: one root, one subclass per family.

A `QHybridError` is a user's mistake or a limit of the machine: its message is one clear line that names the
thing, its value and the remedy. The command line prints that line and exits with code 2; a traceback is a bug.
"""


class QHybridError(Exception):
    """Root of every error that a user can cause and mend."""

    def __str__(self) -> str:
        """The message on one line, whatever the values that it quotes."""
        return " ".join(super().__str__().splitlines())


class ConfigError(QHybridError, ValueError):
    """A configuration key or value that is not allowed."""


class DataError(QHybridError):
    """A data set that is unknown, missing, altered or too small for what was asked."""


class CircuitError(QHybridError, ValueError):
    """A circuit, observable or parameter that the chosen estimator cannot evaluate."""


class RunDirectoryError(QHybridError):
    """A run directory or checkpoint that is missing, foreign, incomplete or not writable."""


class EvaluationError(QHybridError, ValueError):
    """Too few images, or images of the wrong shape, for a metric."""


class TrainingError(QHybridError):
    """Training that cannot go on, e.g. a loss that is no longer a number."""


class TrackingError(QHybridError):
    """A tracker of experiments that is not installed, or that cannot be opened."""


class StudyError(QHybridError):
    """A study of which some cells failed."""


class BenchmarkError(QHybridError, RuntimeError):
    """A benchmark of which one contender's process ended."""


class Interrupted(QHybridError):  # noqa: N818 - not a mistake, like KeyboardInterrupt
    """Work stopped by SIGINT or SIGTERM after its state was saved; the command line exits with code 130."""


def lacks_memory(error: BaseException) -> bool:
    """Whether an error of numpy or torch means that memory could not be had; torch says it in words alone."""
    told = str(error)
    return isinstance(error, MemoryError) or any(
        words in told for words in ("can't allocate memory", "out of memory", "not enough memory", "size calculation")
    )
