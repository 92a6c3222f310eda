"""Noise of devices: channels, the noise of gates, files of noise models, readout error."""
