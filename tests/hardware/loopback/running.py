"""An executor job as the service runs it: decoded, simulated on a copy of the device, encoded, all by the client's
own schemas."""

from __future__ import annotations

import datetime
import hashlib
import json
from typing import Any

from ibm_quantum_schemas.common import CompressedTensorModel
from ibm_quantum_schemas.executor.version_2_0 import (
    ItemMetadataModel,
    MetadataModel,
    QuantumProgramResultItemModel,
    QuantumProgramResultModel,
)
from ibm_quantum_schemas.executor.version_2_0.models import ChunkSpan
from qiskit.providers import BackendV2
from qiskit_ibm_runtime.fake_provider.executor.run_quantum_program import run_quantum_program
from qiskit_ibm_runtime.options_models.simulator import SimulatorOptions
from qiskit_ibm_runtime.quantum_program.params_converters import QUANTUM_PROGRAM_PARAMS_CONVERTERS
from samplomatic.quantum_program import SamplexItem


def run_executor(params: dict[str, Any], device: BackendV2, name: str, *, shots_kept: float = 1.0) -> tuple[str, int]:
    """Carry out a job.

    Args:
        params: Of the request.
        device: Local copy of the device.
        name: Decides the randomness, so that a job that is sent again has the same result.
        shots_kept: Share of the shots that the result holds.

    Returns:
        The result as JSON, and the executions that it took.
    """
    converter = QUANTUM_PROGRAM_PARAMS_CONVERTERS[params["schema_version"]]
    model = converter.model.model_validate(params)
    program, _ = converter.decoder(model)
    for item in program.items:
        if isinstance(item, SamplexItem):
            item.samplex.finalize()
    seed = int(hashlib.sha256(name.encode()).hexdigest()[:7], 16)
    ran = run_quantum_program(device, program, SimulatorOptions(seed_simulator=seed))
    executions = int(program.shots) * sum(int(item.size()) for item in program.items)
    now = datetime.datetime.now(datetime.UTC)
    result = QuantumProgramResultModel(
        data=[
            QuantumProgramResultItemModel(
                results={
                    key: CompressedTensorModel.from_numpy(_kept(key, value, shots_kept)) for key, value in item.items()
                },
                metadata=ItemMetadataModel(),
            )
            for item in ran
        ],
        metadata=MetadataModel(chunk_timing=[ChunkSpan(start=now, stop=now, parts=[])]),
        passthrough_data=model.quantum_program.passthrough_data,
        semantic_role=program._semantic_role,
    )
    return json.dumps(result.model_dump(mode="json")), executions


def _kept(key: str, values: Any, share: float) -> Any:
    # Measured bits have the shape (..., shots, bits); what else is in a result does not depend on the shots.
    if share == 1.0 or key not in ("_meas", "measured"):
        return values
    return values[..., : int(values.shape[-2] * share), :]
