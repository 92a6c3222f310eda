import numpy as np
import pytest
import torch

from qhybrid.config import DiffusionConfig
from qhybrid.diffusion.process import ForwardProcess
from qhybrid.diffusion.schedules import alphas_cumprod


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("timesteps", [2, 50, 1000])
def test_the_signal_falls_from_nearly_all_to_nearly_nothing(schedule, timesteps):
    levels = alphas_cumprod(DiffusionConfig(schedule=schedule, timesteps=timesteps))
    assert levels.shape == (timesteps,)
    assert np.all(np.diff(levels) < 0)
    assert 0 < levels[-1] < 1e-3
    if timesteps == 1000:
        assert levels[0] > 0.999


def test_the_schedules_are_those_of_diffusers():
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    for ours, theirs in (("linear", "linear"), ("cosine", "squaredcos_cap_v2")):
        reference = DDPMScheduler(1000, beta_start=1e-4, beta_end=0.02, beta_schedule=theirs).alphas_cumprod.numpy()
        assert alphas_cumprod(DiffusionConfig(schedule=ours)) == pytest.approx(reference, rel=2e-3, abs=1e-8)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_loss_is_zero_for_the_right_prediction_only(prediction):
    process = ForwardProcess(DiffusionConfig(prediction=prediction))
    images = torch.rand(5, 1, 4, 4) * 2 - 1
    epsilon = torch.randn_like(images)
    t = torch.tensor([0, 10, 300, 700, 999])
    target = process.target(images, epsilon, t)
    assert process.loss(lambda x, t: target, images, epsilon, t) == 0
    assert process.loss(lambda x, t: target + 0.5, images, epsilon, t) == pytest.approx(0.25)


def test_v_and_epsilon_say_the_same():
    # epsilon = sqrt(a) v + sqrt(1 - a) x_t (Salimans and Ho 2022, appendix D)
    process = ForwardProcess(DiffusionConfig(prediction="v"))
    images, t = torch.rand(3, 1, 4, 4), torch.tensor([5, 400, 990])
    epsilon = torch.randn_like(images)
    a = process.alphas_cumprod[t].view(-1, 1, 1, 1)
    v = process.target(images, epsilon, t)
    noisy = process.diffuse(images, epsilon, t)
    torch.testing.assert_close(a.sqrt() * v + (1 - a).sqrt() * noisy, epsilon, rtol=0, atol=1e-5)
    torch.testing.assert_close(a.sqrt() * noisy - (1 - a).sqrt() * v, images, rtol=0, atol=1e-5)
