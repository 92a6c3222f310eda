"""What all kernels are built from: vectors of samples, the numbers of operations, worker threads."""
