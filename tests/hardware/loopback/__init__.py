"""An IBM Quantum service on 127.0.0.1: the installed client's REST endpoints, Aer behind them, faults on demand.

    state    accounts, devices, jobs and sessions: what the service knows, and what tests ask of it
    running  carries out an executor job on a local copy of the device
    faults   what goes wrong, and when
    server   the HTTP endpoints

Nothing of the client is replaced: it is pointed here by the environment (`Loopback.environment`).
"""

from loopback.faults import Fault
from loopback.server import Loopback
from loopback.state import Job, Session

__all__ = ["Fault", "Job", "Loopback", "Session"]
