"""Assemble the model that a configuration names; refuse what cannot be trained or simulated before anything is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qhybrid.config import RunConfig
from qhybrid.errors import ConfigError
from qhybrid.models.bottleneck import Bottleneck, NoBottleneck
from qhybrid.models.unet import UNet
from qhybrid.registry import BOTTLENECK_CORES
from qhybrid.seeds import initial_seed

if TYPE_CHECKING:
    from qhybrid.models.cores import CoreRequest
    from qhybrid.quantum.circuits.spec import CircuitSpec

_CIRCUIT_CORES = ("quantum", "quantum_frozen", "quantum_product", "published")


def circuit_spec(config: RunConfig) -> CircuitSpec | None:
    """The circuit in the bottleneck, or `None` for a core of this package that has none.

    Raises:
        CircuitError: The circuit cannot be simulated on this machine.
    """
    core = config.model.bottleneck.core.name
    if core not in _CIRCUIT_CORES:
        return None
    from qhybrid.quantum import require_feasible

    if core != "published" and config.quantum.qubits is not None:
        # Before the circuit is built: a million qubits take long even to write down.
        require_feasible(config.quantum.qubits, config.training.batch_size)
    spec = _core_spec(config)
    if core != "published":
        require_feasible(spec, config.training.batch_size)
    return spec


def _core_spec(config: RunConfig) -> CircuitSpec:
    """The circuit that a core is built for: its own, or for a classical one that of the arm it is a control of."""
    from qhybrid.quantum import published_spec, spec_from_config

    core = config.model.bottleneck.core.name
    if core == "published":
        return published_spec()
    spec = spec_from_config(config.quantum)
    if core == "quantum_product":
        from qhybrid.quantum.circuits.product import product_spec

        return product_spec(spec)
    return spec


def check_trainable(config: RunConfig) -> None:
    """Refuse dead parameters, a circuit too large, or what a core itself refuses, before anything is made.

    A core of another package is built, so that its builder can refuse; a circuit in it (its attribute `spec`) is judged
    as one of ours.

    Raises:
        ConfigError: There are dead parameters and `quantum.allow_dead_parameters` is false.
        CircuitError: The circuit cannot be simulated on this machine.
    """
    spec = _trained_circuit(config)
    if spec is None or config.quantum.allow_dead_parameters:
        return
    from qhybrid.quantum import diagnose

    dead = diagnose(spec).dead
    if dead:
        shown = ", ".join(dead[:4]) + (f" and {len(dead) - 4} more" if len(dead) > 4 else "")
        raise ConfigError(
            f"circuit `{spec.name}`: {len(dead)} of {len(spec.weights)} weights can never learn, since no expectation "
            f"value depends on them ({shown}); mend the circuit or set `quantum.allow_dead_parameters: true`"
        )


def require_memory(config: RunConfig, image_shape: tuple[int, int, int]) -> None:
    """Refuse a network whose training cannot fit the memory that is available now.

    Counted are the parameters five times (themselves, their gradient and average, Adam's two moments) and what each
    layer hands on for one batch, which the gradient needs: less than what is used, so that nothing that fits is
    refused. A GPU has memory of its own, and says itself when it does not suffice.

    Args:
        config: Configuration of the run.
        image_shape: Shape of one image, `(C, H, W)`.

    Raises:
        ConfigError: Says how much it takes and how much there is.
    """
    import psutil

    from qhybrid.quantum.circuits.feasibility import readable_bytes

    if config.training.device != "cpu" and torch.cuda.is_available():
        return
    batch = config.training.batch_size
    with torch.device("meta"):
        network = _empty_network(config, image_shape[0])
        parameters = sum(parameter.numel() for parameter in network.parameters())
        features = _handed_on(network, torch.empty(1, *image_shape))
    needed, available = 4 * (5 * parameters + batch * features), int(psutil.virtual_memory().available)
    if needed > available:
        raise ConfigError(
            f"training {parameters:,} parameters on batches of {batch:,} images takes at least "
            f"{readable_bytes(needed)} of memory and this machine has {readable_bytes(available)} available: lower "
            "`model.channels`, `model.time_dim` or `training.batch_size`"
        )


def _handed_on(network: UNet, images: Tensor) -> int:
    """How many numbers the layers hand on for images `(B, C, H, W)`; on torch's `meta` device nothing is computed."""
    counts = []
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _module, _inputs, output: counts.append(output.numel()))
    network(images, torch.zeros(len(images), dtype=torch.int64))
    return sum(counts)


def _empty_network(config: RunConfig, image_channels: int) -> UNet:
    """The U-Net without a core."""
    return UNet(
        image_channels,
        config.model.channels,
        config.model.time_dim,
        NoBottleneck(),
        conditional_decoder=config.model.bottleneck.place == "condition",
    )


def _trained_circuit(config: RunConfig) -> CircuitSpec | None:
    """The circuit whose weights are trained, of whichever package its core is; `None` if there is none."""
    name = config.model.bottleneck.core.name
    if name == "none" or BOTTLENECK_CORES.find(name).package == "qhybrid":
        spec = circuit_spec(config)
        return None if name == "quantum_frozen" else spec
    from qhybrid.models.cores import CoreRequest

    with torch.random.fork_rng(devices=[]):
        seed = initial_seed(config.seed, "circuit")
        torch.manual_seed(seed)
        core = _build_core(config, CoreRequest(_core_spec(config), config.quantum, seed))
    trained = any(parameter.requires_grad for parameter in core.parameters())
    return _circuit_in(core) if trained else None


def _circuit_in(core: nn.Module) -> CircuitSpec | None:
    from qhybrid.quantum.circuits.spec import CircuitSpec

    spec = getattr(core, "spec", None)
    return spec if isinstance(spec, CircuitSpec) else None


def build_model(
    config: RunConfig, image_channels: int, spec: CircuitSpec | None = None, *, classes: int | None = None
) -> UNet:
    """The U-Net with its core, initialized from `config.seed`; all cores start from the same shared layers.

    Args:
        config: Configuration of the run.
        image_channels: Number of channels of an image, 1 or 3.
        spec: The circuit, if it comes from a checkpoint; by default the configuration's.
        classes: Number of classes of the data set; needed with `model.condition: class`.

    Raises:
        ConfigError: A conditional model without classes, or a core that does not keep its contract.
        CircuitError: The circuit cannot be simulated on this machine.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(initial_seed(config.seed, "unet"))
        model = _empty_network(config, image_channels)
        model.bottleneck = _build_bottleneck(config, spec, classes)
    # Channels innermost is what the CPU's convolutions work on; weights laid out so carry it through the network.
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _build_bottleneck(config: RunConfig, spec: CircuitSpec | None, classes: int | None) -> Bottleneck | NoBottleneck:
    settings = config.model.bottleneck
    if settings.core.name == "none":
        return NoBottleneck()
    if config.model.condition == "class" and not classes:
        raise ConfigError("`model.condition: class`: the number of classes of the data set is not known here")
    from qhybrid.models.cores import CoreRequest

    core_seed = initial_seed(config.seed, "circuit")
    request = CoreRequest(spec or circuit_spec(config) or _core_spec(config), config.quantum, core_seed)
    torch.manual_seed(core_seed)
    core = _build_core(config, request)
    torch.manual_seed(initial_seed(config.seed, "gate"))
    return Bottleneck(
        core,
        request.n_in,
        request.n_out,
        channels=config.model.channels[-1],
        time_dim=config.model.time_dim,
        place=settings.place,
        sees=config.model.sees,
        classes=classes or 0,
    )


def _build_core(config: RunConfig, request: CoreRequest) -> nn.Module:
    choice = config.model.bottleneck.core
    entry = BOTTLENECK_CORES.find(choice.name)
    core = entry.builder(choice.options, request)
    if not isinstance(core, nn.Module):
        raise ConfigError(
            f"bottleneck core `{choice.name}` of package `{entry.package}` is a {type(core).__name__}: its builder "
            "must return a torch.nn.Module"
        )
    if entry.package != "qhybrid":
        spec = _circuit_in(core)
        if spec is not None:
            from qhybrid.quantum import require_feasible

            require_feasible(spec, config.training.batch_size)
        with torch.no_grad():
            shape = tuple(core(torch.zeros(2, request.n_in)).shape)
        if shape != (2, request.n_out):
            raise ConfigError(
                f"bottleneck core `{choice.name}` of package `{entry.package}` makes {shape} of (2, {request.n_in}): "
                f"for this circuit it must make (2, {request.n_out})"
            )
    return core


def parameter_groups(model: UNet) -> dict[str, list[nn.Parameter]]:
    """Trainable parameters by part: `unet`, `bottleneck` (its linear maps and classes) and `circuit` or `core`."""
    core = "circuit" if hasattr(model.bottleneck.core, "spec") else "core"
    groups: dict[str, list[nn.Parameter]] = {"unet": [], "bottleneck": [], core: []}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith("bottleneck.core."):
            groups[core].append(parameter)
        elif name.startswith("bottleneck."):
            groups["bottleneck"].append(parameter)
        else:
            groups["unet"].append(parameter)
    return {name: parameters for name, parameters in groups.items() if parameters}


def parameter_counts(model: UNet) -> dict[str, int]:
    """Number of trainable parameters of each group."""
    return {name: sum(p.numel() for p in parameters) for name, parameters in parameter_groups(model).items()}
