"""Reverse diffusion whose bottleneck is evaluated on a device."""
