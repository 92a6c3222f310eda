"""A run's circuit for others: QPY and OpenQASM 3, what is measured, the angles, a script that needs Qiskit alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from qiskit import qasm3, qpy

from hardware.errors import HardwareError
from hardware.inference.reverse_process import ReverseProcess
from hardware.inference.rounds import Round
from hardware.inference.workload import open_run, planned_workload
from qhybrid.files import atomic_path, write_json, write_text
from qhybrid.rundir import RunDirectory

SCRIPT = '''"""Send the circuit of this folder to its IBM device: needs qiskit-ibm-runtime and a saved account."""

import json
from pathlib import Path

import numpy as np
from qiskit import qpy
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.executor_estimator import Estimator

folder = Path(__file__).parent
job = json.loads((folder / "job.json").read_text())
with (folder / "circuit.qpy").open("rb") as file:
    circuit = qpy.load(file)[0]  # fits the device as it is: do not transpile it again

observables = [[SparsePauliOp.from_sparse_list(terms, circuit.num_qubits)] for terms in job["observables"]]
parameters = {tuple(job["inputs"]): np.array(job["parameters"])}  # radians, a row per parameter set

backend = QiskitRuntimeService().backend(job["backend"], use_fractional_gates=job["fractional_gates"])
estimator = Estimator(mode=backend)
estimator.options.resilience_level = job["resilience_level"]
estimator.options.default_shots = job["shots"]
sent = estimator.run([(circuit, observables, parameters)])
print("job", sent.job_id(), flush=True)

found = sent.result()[0].data  # (outputs, parameter sets) each
np.savez(folder / "result.npz", evs=found.evs, stds=found.stds)
print("expectation values in", folder / "result.npz")
'''


def export(
    run: RunDirectory | str | Path, folder: str | Path, *, echo: Callable[[str], None] = lambda line: None
) -> Path:
    """Write a planned run's circuit so that it can be used without this package.

    Args:
        run: Directory of a run that was planned for a device.
        folder: Folder for the files, made if it is not there, and refused if it holds any of them.
        echo: Called with a line for each file.

    Returns:
        The folder. `circuit.qpy` and `circuit.qasm` hold the ISA circuit as the run's jobs have it, copies side by side
        included: trained weights bound, input angles free. `job.json` holds the backend, shots and level, the
        observables as `[pauli, qubits, coefficient]`, the names of the inputs and the angles of the run's first job in
        radians, a row per parameter set. `submit.py` sends all of it.

    Raises:
        HardwareError: Nothing was planned, or the folder holds a file of these names.
    """
    directory = open_run(run)
    target = Path(folder)
    names = ("circuit.qpy", "circuit.qasm", "job.json", "submit.py")
    there = [name for name in names if (target / name).exists()]
    if there:
        raise HardwareError(f"`{target / there[0]}` exists: name another folder with --out")
    workload = planned_workload(directory, offline=True)
    program, plan = workload.device, workload.plan
    bound = program.bindings(_first_round(workload.process, plan.qpu_steps).angles)
    ((inputs, parameters),) = bound.items()
    target.mkdir(parents=True, exist_ok=True)
    with atomic_path(target / "circuit.qpy") as temporary, temporary.open("wb") as file:
        qpy.dump(program.circuit, file)
    write_text(target / "circuit.qasm", qasm3.dumps(program.circuit))
    write_json(
        target / "job.json",
        {
            "backend": plan.device,
            "fractional_gates": bool(plan.config["fractional_gates"]),
            "shots": plan.shots,
            "resilience_level": plan.level,
            "observables": [
                [[pauli, qubits, float(np.real(coefficient))] for pauli, qubits, coefficient in item.to_sparse_list()]
                for item in program.observables
            ],
            "inputs": list(inputs),
            "parameters": parameters.tolist(),
        },
    )
    write_text(target / "submit.py", SCRIPT)
    for name in names:
        echo(f"written: {target / name}")
    return target


def _first_round(process: ReverseProcess, steps: tuple[int, ...]) -> Round:
    """What the run's first job asks for; of a bottleneck that sees the image, the exact run says it."""
    asked: list[Round] = []

    def record(needed: Round) -> NDArray[np.float64]:
        asked.append(needed)
        return process.exact.values(needed.angles)

    process.run(process.start(), record, steps)
    return asked[0]
