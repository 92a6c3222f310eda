import pytest

from qhybrid.config import RunConfig, build_config, dump_config, load_config
from qhybrid.errors import ConfigError


def write(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def test_defaults_round_trip_through_yaml(tmp_path):
    config = build_config({"sampling": {}, "evaluation": {}, "hardware": {"qpu_steps": [0, 3]}})
    assert load_config(write(tmp_path, dump_config(config))) == config


def test_every_shipped_config_is_valid(root):
    paths = sorted(set((root / "configs").rglob("*.yaml")) - set((root / "configs/studies").glob("*.yaml")))
    assert {path.stem for path in paths} >= {
        "quickstart",
        "mnist_low_data",
        "pneumonia",
        "retina",
        "pathmnist_subset",
        "digits_aer_noise",
    }
    for path in paths:
        assert isinstance(load_config(path), RunConfig)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("training: {stepz: 3}", ["training.stepz", "steps, batch_size"]),
        ("training: {steps: many}", ["training.steps", "'many'", "integer"]),
        ("quantum: {qubits: 0}", ["quantum.qubits", "0", "greater than or equal to 1"]),
        ("quantum: {noise: {devices: x}}", ["quantum.noise.devices", "device, readout_error"]),
        ("model: {bottleneck: magic}", ["model.bottleneck", "'magic'", "'plain', 'se', 'quantum'"]),
        ("evaluation: {}", ["sampling"]),
        ("{model: {bottleneck: se}, hardware: {}}", ["hardware", "model.bottleneck: se"]),
        ("quantum: {gradient: parameter_shift}", ["parameter_shift", "shots"]),
        ("hardware: {budget_seconds: 0}", ["hardware.budget_seconds", "0", "greater than 0"]),
        ("sampling: {sampler: unipc, eta: 0.5}", ["eta", "ddim"]),
        ("{diffusion: {timesteps: 10}, sampling: {steps: 50}}", ["sampling.steps: 50", "diffusion.timesteps: 10"]),
        ("data: {name: npz}", ["path"]),
        ("[1, 2]", ["expected sections"]),
        ("training: {steps: 1, steps: 2}", ["`steps` stands twice"]),
        ("a: [", ["not valid YAML"]),
    ],
)
def test_bad_values_are_named_in_one_line(tmp_path, text, named):
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in named), message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml.*No such file"):
        load_config(tmp_path / "nowhere.yaml")


def test_overrides_are_applied_in_order_and_make_missing_sections(tmp_path):
    path = write(tmp_path, "training: {steps: 5}")
    config = load_config(path, ["training.steps=7", "sampling.steps=3", "training.steps=9", "hardware=null"])
    assert config.training.steps == 9
    assert config.sampling is not None
    assert config.sampling.steps == 3


@pytest.mark.parametrize("override", ["training.steps", "=3", "training..steps=3", "name.x=1"])
def test_bad_overrides_are_refused(tmp_path, override):
    with pytest.raises(ConfigError, match="--set"):
        load_config(write(tmp_path, "name: here"), [override])


def test_exponents_without_a_dot_are_numbers(tmp_path):
    # PyYAML reads `3e-4` as text, a trap for everyone who writes learning rates.
    assert load_config(write(tmp_path, "training: {learning_rate: 3e-4}")).training.learning_rate == 3e-4


def test_whole_numbers_stay_integers_and_texts_stay_texts(tmp_path):
    config = load_config(write(tmp_path, "name: '12'\nseed: 3"))
    assert config.name == "12"
    assert config.seed == 3
