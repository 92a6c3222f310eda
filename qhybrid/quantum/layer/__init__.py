"""The quantum layer for PyTorch and the ways in which it gets its gradients."""
