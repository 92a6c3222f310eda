"""Samplers and noise sources by name: ours, unknown ones, and those of other packages that do not keep the contract."""

import pytest
import torch

from qhybrid.config import DiffusionConfig, NoiseConfig, SamplingConfig, Section, build_section
from qhybrid.diffusion.making import make_bank
from qhybrid.diffusion.noise import NoiseSource, TimedNoise, forward_noise, noise_source
from qhybrid.diffusion.samplers import Scheduled, build_sampler
from qhybrid.errors import ConfigError, QHybridError
from qhybrid.registry import NOISE_SOURCES, SAMPLERS, Entry, NoOptions
from qhybrid.seeds import Stream


class Scale(Section):
    scale: float = 1.0


@pytest.fixture
def strange(monkeypatch):
    """Register an entry of another package for one test."""

    def register(registry, builder, section=NoOptions):
        monkeypatch.setitem(registry._entries, "strange", [Entry("strange", builder, section, "a-package")])

    for registry in (SAMPLERS, NOISE_SOURCES):
        registry.packages()
    return register


def test_all_of_ours_are_registered():
    assert set(SAMPLERS.packages()) >= {"ddpm", "ddim", "dpm-solver++", "unipc"}
    assert set(NOISE_SOURCES.packages()) >= {"gaussian", "quantum_bits", "quantum_intrinsic"}


@pytest.mark.parametrize(
    ("section", "values", "line"),
    [
        (SamplingConfig, {"sampler": "euler"}, "`sampler`: sampler `euler` is unknown; registered are ddpm, ddim, "),
        (NoiseConfig, {"source": "gausian"}, "`source`: noise source `gausian` is unknown, did you mean `gaussian`?"),
        (SamplingConfig, {"sampler": {"name": "ddim", "eta": 1.0}}, "unknown option `eta` (allowed: none)"),
    ],
)
def test_a_name_that_nobody_registers_is_told_in_one_line(section, values, line):
    with pytest.raises(ConfigError) as error:
        build_section(section, values, "test")
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_a_strangers_source_takes_its_share(strange):
    class Constant:
        def __init__(self, scale):
            self.scale = scale

        def draw(self, stream, shape):
            return torch.full(tuple(shape), self.scale)

    strange(NOISE_SOURCES, lambda options, noise: Constant(options.scale), Scale)
    values = {"noise": {"source": {"name": "strange", "scale": 0.5}}}
    config = build_section(DiffusionConfig, values, "test")
    drawn = forward_noise(config, 10)
    assert isinstance(drawn, TimedNoise)
    stream, shape = Stream("image", 0, 0), (1, 1, 2, 2)
    assert torch.equal(drawn.draw_at(torch.tensor([3]), stream, shape), torch.full(shape, 0.5))
    assert torch.equal(noise_source(config).draw(stream, shape[1:]), torch.full(shape[1:], 0.5))


@pytest.mark.parametrize(
    ("draw", "found"),
    [
        (lambda stream, shape: torch.zeros(3), r"draws torch\.float32 \(3,\) where"),
        (lambda stream, shape: torch.zeros(shape, dtype=torch.float64), r"draws torch\.float64 \(1, 2, 2\) where"),
        (lambda stream, shape: [0.0], "draws list where"),
        (lambda stream, shape: torch.full(shape, float("nan")), "draws numbers that are not finite"),
    ],
)
def test_a_strangers_source_is_looked_at(strange, draw, found):
    source = type("Source", (), {"draw": staticmethod(draw)})()
    strange(NOISE_SOURCES, lambda options, noise: source)
    config = build_section(DiffusionConfig, {"noise": "strange"}, "test")
    with pytest.raises(QHybridError, match=rf"noise source `strange` of package `a-package` {found}"):
        noise_source(config).draw(Stream("image", 0, 0), (1, 2, 2))


def test_a_builder_must_build_what_its_kind_is(strange):
    strange(NOISE_SOURCES, lambda options, noise: 3)
    with pytest.raises(QHybridError, match=r"`strange` of package `a-package` builds a int, which has no method `draw"):
        noise_source(build_section(DiffusionConfig, {"noise": "strange"}, "test"))
    strange(SAMPLERS, lambda options, process: "ddim")
    with pytest.raises(QHybridError, match=r"`strange` of package `a-package` builds a str, not a Scheduled"):
        build_sampler(DiffusionConfig(), "strange", 4)


@pytest.mark.parametrize("values", [{"bank": "bank.npz"}, {"simulate": {"device": "aer"}}])
def test_a_strangers_source_is_never_taken_for_one_of_ours(strange, values):
    strange(NOISE_SOURCES, lambda options, noise: NoiseSource)
    with pytest.raises(ConfigError, match="`strange`"):
        build_section(NoiseConfig, {"source": "strange", **values}, "test")


def test_a_bank_is_made_of_our_sources_alone(tmp_path):
    from qhybrid.config import SimulatedNoiseConfig

    with pytest.raises(QHybridError, match=r"a bank is made of gaussian, quantum_bits or quantum_intrinsic, found `x`"):
        make_bank(tmp_path / "bank.npz", "x", SimulatedNoiseConfig(), 10)
    assert not list(tmp_path.iterdir())


def test_a_strangers_sampler_gets_the_respaced_process(strange):
    seen = []

    def build(options, process):
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        seen.append(process)
        return Scheduled(DDIMScheduler(**process.scheduler_arguments), eta=0.0, resumable=True)

    strange(SAMPLERS, build)
    sampler = build_sampler(DiffusionConfig(prediction="v"), "strange", 4)
    assert (len(seen[0].betas), seen[0].prediction) == (4, "v")
    assert sampler.timesteps.tolist() == [999, 749, 499, 249]
    assert not sampler.stochastic
