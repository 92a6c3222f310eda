"""The quantum layer beside its peers, its growth beside the machine's floor, and its numerics.

    python tests/benchmarks/bench_layer.py --qubits 4,8,12,16 --json layer.json      # also `qhybrid bench layer`

The peers are the extra `bench`; without them only the layer itself is measured.
"""

from qhybrid.commands.main import app

if __name__ == "__main__":
    import sys

    app(["bench", "layer", *sys.argv[1:]])
