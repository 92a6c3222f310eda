import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qhybrid.config import DiffusionConfig, ShareConfig, build_config
from qhybrid.diffusion.process import ForwardProcess
from qhybrid.diffusion.schedules import alphas_cumprod, quantum_share, signal_to_noise, terminal_snr, time_density
from qhybrid.errors import ConfigError

KINDS = [
    "sigmoid",
    {"kind": "sigmoid", "tau": 0.5},
    "cosine_exponent",
    {"kind": "cosine_exponent", "exponent": 2.0},
    {"kind": "knots", "knots": [[0, 9], [0.3, 1], [1, -8]]},
]


@pytest.mark.parametrize("schedule", KINDS)
@pytest.mark.parametrize("timesteps", [2, 50, 1000])
def test_the_signal_falls_to_nearly_nothing(schedule, timesteps):
    levels = alphas_cumprod(DiffusionConfig(schedule=schedule, timesteps=timesteps))
    assert levels.shape == (timesteps,)
    assert np.all(np.diff(levels) < 0)
    assert 0 < levels[-1] < 1e-2
    assert levels[0] < 1


def test_each_curve_is_the_one_of_its_paper():
    steps = 200
    u = np.arange(1, steps) / steps  # the last step is held above zero by the largest allowed beta
    exponent = alphas_cumprod(DiffusionConfig(schedule={"kind": "cosine_exponent", "exponent": 1.5}, timesteps=steps))
    assert exponent[:-1] == pytest.approx(np.cos(u * np.pi / 2) ** 3, rel=1e-9)
    sigmoid = alphas_cumprod(DiffusionConfig(schedule="sigmoid", timesteps=steps))
    low, high = 1 / (1 + np.exp(3)), 1 / (1 + np.exp(-3))
    assert sigmoid[:-1] == pytest.approx((high - 1 / (1 + np.exp(-(6 * u - 3)))) / (high - low), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.01, 5), min_size=2, max_size=6),
    st.integers(2, 300),
)
def test_knots_give_a_monotone_curve_through_them(falls, timesteps):
    positions = np.linspace(0, 1, len(falls))
    values = 8 - np.cumsum(falls)
    values[-1] = min(values[-1], -6)
    knots = np.stack([positions, values], axis=1).tolist()
    config = DiffusionConfig(schedule={"kind": "knots", "knots": knots}, timesteps=timesteps)
    levels = alphas_cumprod(config)
    assert np.all(np.diff(levels) < 0)
    assert np.log(terminal_snr(config)) == pytest.approx(values[-1], abs=1e-6)


def test_a_schedule_that_ends_with_signal_is_refused():
    schedule = {"kind": "knots", "knots": [[0, 9], [1, -2]]}
    with pytest.raises(ConfigError, match=r"signal-to-noise ratio of 0\.135.*max_terminal_snr: 0\.01"):
        ForwardProcess(DiffusionConfig(schedule=schedule))
    allowed = DiffusionConfig(schedule=schedule | {"max_terminal_snr": 0.2})
    assert terminal_snr(allowed) == pytest.approx(np.exp(-2))


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_training_times_follow_the_min_snr_weight(prediction):
    config = DiffusionConfig(times={"kind": "min_snr", "gamma": 5.0}, prediction=prediction)
    ratio = signal_to_noise(alphas_cumprod(config))
    density = time_density(config)
    assert density.sum() == pytest.approx(1)
    weight = np.minimum(ratio, 5) / (ratio if prediction == "epsilon" else ratio + 1)
    assert density / density.max() == pytest.approx(weight / weight.max())


def test_the_quantum_share_runs_from_start_to_end():
    linear = quantum_share(ShareConfig(kind="linear", start=0.2, end=0.8), 5)
    assert linear == pytest.approx([0.2, 0.35, 0.5, 0.65, 0.8])
    cosine = quantum_share(ShareConfig(kind="cosine", start=1.0, end=0.0), 5)
    assert cosine == pytest.approx([1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0])
    knots = quantum_share(ShareConfig(kind="knots", knots=[[0, 0], [0.5, 1], [1, 0]]), 5)
    assert knots == pytest.approx([0, 0.5, 1, 0.5, 0])
    assert quantum_share(ShareConfig.model_validate(0.3), 3) == pytest.approx([0.3] * 3)


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"schedule": "magic"}, ["diffusion.schedule.kind", "'magic'", "'sigmoid'"]),
        ({"schedule": {"kind": "knots"}}, ["diffusion.schedule", "knots"]),
        ({"schedule": {"kind": "knots", "knots": [[0, 3], [0.5, 4], [1, -9]]}}, ["must fall", "3.0 at u = 0.0", "4.0"]),
        ({"schedule": {"kind": "knots", "knots": [[0, 3], [0.8, 1], [0.5, -9]]}}, ["rise from 0 to 1"]),
        ({"schedule": {"kind": "knots", "knots": [[0, 3], [1, float("-inf")]]}}, ["finite"]),
        ({"schedule": {"kind": "cosine", "knots": [[0, 3], [1, -9]]}}, ["kind: cosine"]),
        ({"times": {"kind": "knots", "knots": [[0, 1], [1, -1]]}}, ["nowhere negative"]),
        ({"noise": {"source": "gaussian", "share": 1.5}}, ["diffusion.noise.share.start", "1.5"]),
        ({"noise": {"source": "gaussian", "share": -0.1}}, ["diffusion.noise.share.start", "-0.1"]),
        ({"noise": {"share": {"kind": "knots", "knots": [[0, 0], [1, 1.2]]}}}, ["[0, 1]", "1.2"]),
        ({"noise": {"share": {"kind": "linear", "start": 0.0}}}, ["`end`"]),
        ({"noise": "quantum_bits"}, ["diffusion.noise", "bank"]),
        ({"noise": "white"}, ["diffusion.noise.source", "`white`"]),
        ({"noise": {"source": "quantum_bits", "simulate": {}, "device": "fake_manila"}}, ["simulate.device"]),
    ],
)
def test_bad_curves_are_named_in_one_line(section, named):
    with pytest.raises(ConfigError) as caught:
        build_config({"diffusion": section})
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in named), message


def test_short_forms_mean_what_they_always_did():
    short = build_config({"diffusion": {"schedule": "linear", "noise": "gaussian", "prediction": "v"}})
    assert short.diffusion.schedule.kind == "linear"
    assert build_config(short.model_dump()) == short


def test_the_figure_shows_the_curves_and_the_image(tmp_path):
    from qhybrid.diffusion.charts import save_figure, schedule_figure

    rng = np.random.default_rng(0)
    config = DiffusionConfig(timesteps=100)
    image, gaussian, quantum = rng.standard_normal((3, 8, 8)).astype(np.float32)
    figure = schedule_figure(config, image, gaussian, quantum)
    titles = [axis.get_title(loc="left") for axis in figure.axes[:3]]
    assert f"{terminal_snr(config):.1e}" in titles[0]
    shown = [axis.images[0].get_array() for axis in figure.axes[3:]]
    assert len(shown) == 9
    # From the image itself to the quantum noise alone.
    assert np.corrcoef(shown[0].ravel(), image.ravel())[0, 1] > 0.98
    assert np.corrcoef(shown[-1].ravel(), quantum.ravel())[0, 1] > 0.999
    save_figure(figure, tmp_path / "schedule.png")
    assert (tmp_path / "schedule.png").read_bytes()[:4] == b"\x89PNG"
