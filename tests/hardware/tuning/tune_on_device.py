"""Tunes a run on a device, as a user's script does: `python tune_on_device.py RUN`."""

import sys

import hardware
from hardware.tuning.tuned_model import Steps

if __name__ == "__main__":
    hardware.tune(sys.argv[1], steps=Steps(2, circuits=3), budget_seconds=60.0, yes=True)
