import pytest
import yaml

from qhybrid.config import RunConfig, build_config, dump_config, load_config, read_mapping
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
        ("model: {bottleneck: {core: magic}}", ["model.bottleneck.core", "`magic`", "quantum, quantum_frozen"]),
        ("model: {bottleneck: {place: somewhere}}", ["model.bottleneck.place", "'somewhere'", "'gate'"]),
        ("model: {bottleneck: {sees: []}}", ["model.bottleneck.sees", "`sees: []`"]),
        ("model: {bottleneck: {sees: [image, image]}}", ["model.bottleneck.sees", "twice"]),
        ("model: {bottleneck: {sees: [class]}}", ["sees: ['class']` without a condition"]),
        ("model: {condition: class, bottleneck: {sees: [image, time]}}", ["no way into the network", "add class"]),
        ("model: {condition: class, bottleneck: {core: none}}", ["no way into the network"]),
        ("model: {bottleneck: {place: features, sees: [image]}}", ["place: features", "leave `sees` out"]),
        ("model: {bottleneck: {place: features, core: none}}", ["nothing would pass"]),
        ("sampling: {guidance: 2}", ["sampling.guidance: 2", "without a condition"]),
        ("{model: {condition: class}, training: {label_dropout: 0}, sampling: {guidance: 2}}", ["label_dropout: 0"]),
        ("sampling: {classes: [3]}", ["sampling.classes: [3]", "unconditional model"]),
        ("{model: {condition: class}, sampling: {classes: []}}", ["sampling", "at least one class"]),
        ("{model: {condition: class}, sampling: {classes: [-1]}}", ["sampling", "from 0 on"]),
        ("{model: {condition: class}, sampling: {classes: {3: 0, 4: 1}}}", ["every count is at least 1"]),
        ("{model: {condition: class}, sampling: {classes: {3: 5}, images: 6}}", ["are 5 images", "images: 6"]),
        ("{model: {bottleneck: {place: features}}, hardware: {}}", ["hardware", "place: features"]),
        ("evaluation: {}", ["sampling"]),
        ("{model: {bottleneck: {core: se}}, hardware: {}}", ["hardware", "model.bottleneck.core: se"]),
        ("quantum: {gradient: parameter_shift}", ["parameter_shift", "shots"]),
        ("hardware: {budget_seconds: 0}", ["hardware.budget_seconds", "0", "greater than 0"]),
        ("sampling: {sampler: unipc, eta: 0.5}", ["eta", "ddim"]),
        ("{diffusion: {timesteps: 10}, sampling: {steps: 50}}", ["sampling.steps: 50", "diffusion.timesteps: 10"]),
        ("data: {name: npz}", ["path"]),
        ("[1, 2]", ["expected sections"]),
        ("training: {steps: 1, steps: 2}", ["`steps` stands twice"]),
        ("a: [", ["not valid YAML"]),
        ("training: {gradient_clip: .inf}", ["training.gradient_clip", "inf", "finite", "null"]),
        ("training: {learning_rate: .nan}", ["training.learning_rate", "nan", "finite"]),
        ("training: {learning_rate: 1e999}", ["training.learning_rate", "inf", "finite"]),
        ("diffusion: {schedule: {max_terminal_snr: .inf}}", ["max_terminal_snr", "finite", "null"]),
        ("diffusion: {schedule: {kind: knots, knots: [[0, .inf], [1, 0]]}}", ["knots", "finite"]),
        ("hardware: {budget_seconds: .inf}", ["hardware.budget_seconds", "finite", "null"]),
        ("hardware: {level: 2, zne_factors: [1, 3, .inf]}", ["zne_factors", "finite"]),
        ("seed: 9223372036854775808", ["seed", "9223372036854775808", "less than"]),
        ("seed: 123456789012345678901234567890", ["more than 64 bits"]),
        ("seed: " + 5000 * "9", ["more than 64 bits"]),
        ("sampling: {seed: 9223372036854775800}", ["seed: 9223372036854775800", "64 images"]),
        ("hardware: {seed: 9223372036854775800}", ["seed: 9223372036854775800", "16 images"]),
        ("evaluation: {seed: 9223372036854775808}", ["evaluation.seed"]),
        ("data: {root: ''}", ["data.root"]),
        ("data: {classes: [1, 2, 1]}", ["data.classes", "class 1 is named twice"]),
        ("{model: {condition: class}, sampling: {classes: {3: 1, '3': 2}}}", ["`classes` counts a class twice"]),
        ("name: 20240230", ["name", "20240230", "in quotes"]),
        ("name: 12e45678", ["name", "inf", "in quotes"]),
        ("report: yes", ["report", "'yes'", "true or false"]),
        ("training: {steps: 1:30}", ["training.steps", "'1:30'", "integer"]),
        ("name: !!timestamp 2024-02-30", ["not valid YAML"]),
        ("seed: !!int x", ["not valid YAML"]),
        ("a: " + 3000 * "[" + 3000 * "]", ["nested too deeply"]),
        ("data: &a {classes: [*a]}", ["data"]),
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


@pytest.mark.parametrize(
    ("text", "name"),
    [("2024-02-30", "2024-02-30"), ("2024-02-28", "2024-02-28"), ("yes", "yes"), ("1.2.3", "1.2.3"), ("0b1", "0b1")],
)
def test_plain_texts_stay_texts(tmp_path, text, name):
    assert load_config(write(tmp_path, f"name: {text}")).name == name


def test_numbers_are_those_of_yaml_1_2(tmp_path):
    config = load_config(write(tmp_path, "{seed: 010, training: {steps: 0x1f, batch_size: 0o17, learning_rate: .5}}"))
    assert (config.seed, config.training.steps, config.training.batch_size) == (10, 31, 15)
    assert config.training.learning_rate == 0.5


@pytest.mark.parametrize("name", ["1e5", "0o17", "010", "yes", "2024-02-30", "12e45678", "null", ".5", "-"])
def test_names_that_look_like_something_else_survive_the_run_directory(tmp_path, name):
    config = build_config({"name": name})
    assert load_config(write(tmp_path, dump_config(config))) == config
    # For readers of YAML 1.1 as well.
    assert yaml.safe_load(dump_config(config))["name"] == name


def test_no_limit_is_null(tmp_path):
    text = "{training: {gradient_clip: null}, diffusion: {schedule: {max_terminal_snr: null}}}"
    config = load_config(write(tmp_path, text))
    assert config.training.gradient_clip is None
    assert config.diffusion.schedule.max_terminal_snr is None


def test_merge_keys_take_over_and_are_overridden(tmp_path):
    text = """
sampling: &base {sampler: ddim, steps: 7, images: 12}
training: &small {steps: 3, batch_size: 5}
hardware: {<<: {images: 4, steps: 2}, images: 6}
"""
    config = load_config(write(tmp_path, text))
    assert (config.hardware.images, config.hardware.steps) == (6, 2)
    study = write(tmp_path, "a: &a {x: 1, y: 2}\nb: &b {<<: *a, y: 3}\nc: {<<: [*b, {z: 5}], x: 4}")
    values = read_mapping(study, "study")
    # https://yaml.org/type/merge.html: own keys first, then those of earlier mappings.
    assert values["b"] == {"x": 1, "y": 3}
    assert values["c"] == {"x": 4, "y": 3, "z": 5}


def test_a_key_twice_is_refused_beside_a_merge(tmp_path):
    with pytest.raises(ConfigError, match="`steps` stands twice"):
        load_config(write(tmp_path, "training: {<<: {batch_size: 2}, steps: 1, steps: 2}"))


@pytest.mark.parametrize("given", ["/data/set #1", "~", "123", "@home", "null", "{a: b}", "*x", "a: b"])
def test_paths_of_options_are_taken_as_they_are(tmp_path, given):
    config = load_config(write(tmp_path, "name: here"), ["data.name=mnist"], {"data.root": given})
    assert (config.data.name, config.data.root) == ("mnist", given)


def test_whole_numbers_stay_integers_and_texts_stay_texts(tmp_path):
    config = load_config(write(tmp_path, "name: '12'\nseed: 3"))
    assert config.name == "12"
    assert config.seed == 3
