"""The speed of the quantum layer beside its peers and beside the limits of this machine."""
