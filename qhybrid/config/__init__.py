"""Strict, typed configuration: YAML file -> `RunConfig`.

One file per section. A stage runs if its section is present (`sampling`, `evaluation`, `hardware`) or set (`report`).
Unknown keys and wrong types are refused with the key, the value and what is allowed.
"""

from qhybrid.config.choice import Choice
from qhybrid.config.data import DataConfig
from qhybrid.config.differences import changed_keys
from qhybrid.config.diffusion import DiffusionConfig, ScheduleConfig, TimeDensityConfig
from qhybrid.config.evaluation import EvaluationConfig, RelianceConfig
from qhybrid.config.hardware import BUDGET_KEYS, HardwareConfig, NoiseBankConfig
from qhybrid.config.model import BottleneckConfig, ModelConfig
from qhybrid.config.noise import NoiseConfig, ShareConfig, SimulatedNoiseConfig
from qhybrid.config.quantum import CircuitFileConfig, DeviceNoiseConfig, QuantumConfig
from qhybrid.config.run import RunConfig, build_config, build_section, check_sampling
from qhybrid.config.sampling import SamplingConfig
from qhybrid.config.section import Section
from qhybrid.config.tracking import TrackingConfig
from qhybrid.config.training import TrainingConfig
from qhybrid.config.yaml_files import apply_override, apply_overrides, dump_config, load_config, read_mapping

__all__ = [
    "BUDGET_KEYS",
    "BottleneckConfig",
    "Choice",
    "CircuitFileConfig",
    "DataConfig",
    "DeviceNoiseConfig",
    "DiffusionConfig",
    "EvaluationConfig",
    "HardwareConfig",
    "ModelConfig",
    "NoiseBankConfig",
    "NoiseConfig",
    "QuantumConfig",
    "RelianceConfig",
    "RunConfig",
    "SamplingConfig",
    "ScheduleConfig",
    "Section",
    "ShareConfig",
    "SimulatedNoiseConfig",
    "TimeDensityConfig",
    "TrackingConfig",
    "TrainingConfig",
    "apply_override",
    "apply_overrides",
    "build_config",
    "build_section",
    "changed_keys",
    "check_sampling",
    "dump_config",
    "load_config",
    "read_mapping",
]
