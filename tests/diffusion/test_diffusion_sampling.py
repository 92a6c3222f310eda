import pytest
import torch

from qhybrid.config import DiffusionConfig
from qhybrid.diffusion.noise import GaussianNoise, image_noise
from qhybrid.diffusion.samplers import build_sampler, sample_images
from qhybrid.diffusion.schedules import alphas_cumprod
from qhybrid.errors import ConfigError
from qhybrid.seeds import Stream

SAMPLERS = ("ddpm", "ddim", "dpm-solver++", "unipc")
SHAPE = (1, 4, 4)


def gaussian_data_denoiser(config, mean, std):
    """The exact denoiser of independent pixels N(mean, std^2)."""
    levels = torch.from_numpy(alphas_cumprod(config)).double()

    def denoise(x, t):
        a = levels[t].view(-1, 1, 1, 1)
        x = x.double()
        x0 = mean + std**2 * a.sqrt() * (x - a.sqrt() * mean) / (std**2 * a + 1 - a)
        epsilon = (x - a.sqrt() * x0) / (1 - a).sqrt()
        v = a.sqrt() * epsilon - (1 - a).sqrt() * x0
        return (epsilon if config.prediction == "epsilon" else v).float()

    return denoise


def draw(config, sampler, seeds, *, mean=0.2, std=0.15, callback=None):
    source = GaussianNoise()
    return sample_images(
        gaussian_data_denoiser(config, mean, std),
        sampler,
        image_noise(source, seeds, SHAPE, 0),
        lambda step: image_noise(source, seeds, SHAPE, step + 1),
        callback=callback,
    )


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("steps", [1, 2, 7, 40])
def test_a_constant_image_is_recovered_in_any_number_of_steps(name, schedule, prediction, steps):
    config = DiffusionConfig(schedule=schedule, prediction=prediction)
    images = draw(config, build_sampler(config, name, steps), [1, 2], mean=0.3, std=1e-6)
    torch.testing.assert_close(images, torch.full_like(images, 0.3), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", SAMPLERS)
def test_gaussian_data_have_the_right_mean_and_spread(name):
    config = DiffusionConfig()
    steps = 400 if name == "ddpm" else 100
    images = draw(config, build_sampler(config, name, steps), range(400))
    assert float(images.mean()) == pytest.approx(0.2, abs=0.01)
    # Samplers of finitely many steps lose a few per cent of the spread.
    assert float(images.std()) == pytest.approx(0.15, rel=0.06)


def test_ddpm_is_diffusers_ddpm_with_the_same_noise():
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    config = DiffusionConfig(timesteps=60, schedule="linear")
    reference = DDPMScheduler(60, trained_betas=_betas(config), clip_sample=True, variance_type="fixed_small")
    reference.set_timesteps(60)
    denoise = gaussian_data_denoiser(config, 0.2, 0.15)
    latents = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1))
    x, drawn = latents, []
    for t in reference.timesteps:
        noise = Stream("image", 9, int(t)).torch_generator()
        drawn.append(torch.randn(latents.shape, generator=Stream("image", 9, int(t)).torch_generator()))
        x = reference.step(denoise(x, t.expand(3)), t, x, generator=noise).prev_sample
    ours = sample_images(denoise, build_sampler(config, "ddpm", 60), latents, lambda step: drawn[step])
    torch.testing.assert_close(ours, x, rtol=0, atol=2e-4)


def _betas(config):
    levels = alphas_cumprod(config)
    previous = [1.0, *levels[:-1]]
    return [1 - now / before for now, before in zip(levels, previous, strict=True)]


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_an_image_depends_on_its_own_seed_only(eta):
    config = DiffusionConfig()
    sampler = build_sampler(config, "ddim", 10, eta)
    together = draw(config, sampler, [5, 6, 7])
    torch.testing.assert_close(draw(config, sampler, [7])[0], together[2], rtol=0, atol=0)
    assert not torch.equal(together[0], together[1])


def test_a_run_can_go_on_from_any_step():
    config = DiffusionConfig()
    sampler = build_sampler(config, "ddim", 9, 0.5)
    states = []
    whole = draw(config, sampler, [1, 2], callback=lambda step, x: states.append(x))
    source = GaussianNoise()
    denoise = gaussian_data_denoiser(config, 0.2, 0.15)
    rest = sample_images(
        denoise, sampler, states[3], lambda step: image_noise(source, [1, 2], SHAPE, step + 1), start=4
    )
    assert torch.equal(rest, whole)
    with pytest.raises(ConfigError, match="multistep"):
        sample_images(denoise, build_sampler(config, "unipc", 9), states[3], lambda step: states[0], start=4)


def test_more_steps_than_the_process_has_are_refused():
    with pytest.raises(ConfigError, match="20 sampling steps"):
        build_sampler(DiffusionConfig(timesteps=10), "ddim", 20)


def test_streams_are_repeatable_standardized_and_independent():
    source = GaussianNoise()
    first = source.draw(Stream("image", 3, 1), (1, 200, 200))
    assert torch.equal(first, source.draw(Stream("image", 3, 1), (1, 200, 200)))
    assert abs(float(first.mean())) < 4 / 200
    assert float(first.var()) == pytest.approx(1, abs=4 * 2**0.5 / 200)
    # (1, 3) and (3, 1) are different streams: a name is no sum.
    for other in ((1, 3), (3, 2), (4, 1)):
        correlation = float((first * source.draw(Stream("image", *other), (1, 200, 200))).mean())
        assert abs(correlation) < 4 / 200
