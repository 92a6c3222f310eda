"""The simulator: a compiler of circuits, its kernels, and the two interpreters for pure and for mixed states."""
