"""What can be wrong with a noise bank or a noise source."""

from qhybrid.errors import QHybridError


class NoiseError(QHybridError, ValueError):
    """A noise bank that is damaged, exhausted, foreign or refused, or a source that cannot give what is asked."""
