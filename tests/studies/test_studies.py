"""Studies: what a file asks for, what is compared with what, and that a killed one goes on."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import yaml

from qhybrid.config import build_config
from qhybrid.errors import ConfigError
from qhybrid.evaluation.evaluate import evaluate
from qhybrid.evaluation.explanations import TITLES
from qhybrid.evaluation.features import feature_extractor
from qhybrid.evaluation.measured import unmeasured
from qhybrid.files import write_json
from qhybrid.rundir import RunDirectory
from qhybrid.studies.plan import cell_file, load_study
from qhybrid.studies.report import cell_table, conclusions, seeds_needed, views
from qhybrid.studies.results import collect

BASE = {
    "data": {"n_train": 40},
    "model": {"channels": [8, 8, 8], "time_dim": 8},
    "quantum": {"qubits": 2, "layers": 1},
    "training": {
        "steps": 8,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "warmup_steps": 0,
        "checkpoint_every": 2,
        "device": "cpu",
        "threads": 1,
    },
    "sampling": {"images": 20, "steps": 2},
    "evaluation": {"kid_subsets": 3, "kid_subset_size": 10},
}
STUDY = {
    "name": "tiny",
    "base": BASE,
    "seeds": [0, 1],
    "train": {"arm": {"plain": {"model.bottleneck.core": "none"}, "quantum": {}}},
    "sample": {"circuit": {"exact": {}, "shots": {"quantum.shots": 4, "sampling.eta": 1.0}}},
    "reference": {"train": {"arm": "plain"}},
}


@pytest.fixture
def write(tmp_path):
    def write_study(**sections):
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(STUDY | sections))
        return path

    return write_study


def test_a_study_is_every_combination_with_each_seed(write):
    study = load_study(write(), ["training.steps=9"])
    assert [str(item.folder) for item in study.trainings] == [
        f"runs/arm={arm}/seed-{seed}" for seed in (0, 1) for arm in ("plain", "quantum")
    ]
    first, second = study.trainings[0], study.trainings[3]
    assert first.config.model.bottleneck.core.name == "none"
    assert first.config.quantum.shots is None
    assert [cell.levels["sample.circuit"] for cell in first.cells] == ["exact", "shots"]
    assert [cell.config.quantum.shots for cell in first.cells] == [None, 4]
    assert second.config.training.steps == 9
    # A seed is the same subset, weights and image noise in all cells, and shares no image noise with another seed.
    for cell in second.cells:
        assert (cell.config.seed, cell.config.data.subset_seed) == (1, 1)
        assert cell.config.sampling.seed >= first.config.sampling.seed + first.config.sampling.images


@pytest.mark.parametrize(("name", "cells"), [("noise_factorial", 27), ("arms_digits", 3), ("device_pair", 4)])
def test_shipped_studies_are_valid(root, name, cells):
    study = load_study(root / "configs" / "studies" / f"{name}.yaml")
    assert sum(len(training.cells) for training in study.trainings) == cells * len(study.config.seeds)


def test_without_sample_factors_a_cell_is_the_run_itself(write, tmp_path):
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(BASE))
    study = load_study(write(base="base.yaml", sample={}))
    assert [cell.folder for cell in study.trainings[0].cells] == [study.trainings[0].folder]


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"seed": 3}, ["unknown key `seed`", "seeds"]),
        ({"seeds": []}, ["seeds"]),
        ({"seeds": [1, 1]}, ["seeds", "1, 1"]),
        ({"metric": "isc"}, ["isc", "kid"]),
        ({"also": ["isc"]}, ["also", "isc", "kid"]),
        ({"also": ["kid"]}, ["also", "kid"]),
        ({"base": "nowhere.yaml"}, ["nowhere.yaml"]),
        ({"base": {"modle": {}}}, ["modle", "model"]),
        ({"train": {"arm": {}}}, ["train.arm"]),
        ({"train": {"arm": {"a/b": {}}}}, ["a/b"]),
        ({"train": {"arm": {"plain": {"model.bottleneck.core": "plane"}}}}, ["arm=plain", "plane"]),
        ({"sample": {"x": {"a": {}, "b": {"training.steps": 5}}}}, ["sample.x.b", "training.steps", "train"]),
        ({"sample": {"x": {"a": {}, "b": {"sampling.images": 20}}}}, ["x=a", "x=b", "same run"]),
        ({"reference": {"train": {"gate": "plain"}}}, ["reference.train.gate", "arm"]),
        ({"reference": {"train": {"arm": "se"}}}, ["reference.train.arm", "se", "plain"]),
        ({"reference": {}}, ["reference"]),
        ({"margins": {"fid": 0.1}}, ["margins.fid", "kid"]),
        ({"margins": {"kid": 0}}, ["margins.kid", "0"]),
    ],
)
def test_a_wrong_study_file_is_refused_in_one_line(write, sections, named):
    with pytest.raises(ConfigError) as refusal:
        load_study(write(**sections))
    for part in named:
        assert part in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.fixture
def planted(write, tmp_path):
    """The result of a study whose finished cells hold KID values given by a function of levels and seed."""

    def make(value, seeds, missing=(), relied=None, also=None, margins=None):
        study = load_study(write(seeds=list(range(seeds)), also=list(also or ()), margins=margins or {}))
        for training in study.trainings:
            for cell in training.cells:
                folder = tmp_path / "out" / cell.folder
                if (training.seed, *cell.levels.values()) in missing:
                    continue
                kid = {"value": value(*cell.levels.values(), training.seed), "interval": None, "floor": None}
                metrics = {"kid": kid}
                for name, other in (also or {}).items():
                    found = other(*cell.levels.values(), training.seed)
                    metrics[name] = {"value": found, "interval": None, "floor": {"value": 0.99}}
                judged = {"metrics": metrics}
                if relied is not None:
                    judged["reliance"] = relied(*cell.levels.values(), training.seed)
                write_json(RunDirectory(folder).evaluation_file, judged)
                write_json(cell_file(folder), {"seconds": {"sampling": 1.0, "evaluation": 1.0}})
        return collect(study, tmp_path / "out")

    return make


def test_a_planted_effect_is_found_and_paired_by_seed(planted):
    # Seeds differ by far more than the arms; only pairing shows the effect.
    def kid(arm, circuit, seed):
        return seed + (0.1 + 0.001 * seed if arm == "quantum" else 0.0) + (1.0 if circuit == "shots" else 0.0)

    result = planted(kid, 8)
    assert [item["levels"]["sample.circuit"] for item in result["comparisons"]] == ["exact", "shots"]
    for item in result["comparisons"]:
        assert item["reference"] == item["levels"] | {"train.arm": "plain"}
        assert item["difference"] == pytest.approx(0.1035)
        assert item["p"] == 2 / 2**8
        assert item["p_holm"] == 2 * item["p"]
        assert item["interval"][0] < 0.1035 < item["interval"][1]
    (effect,) = result["effects"]
    assert (effect["level"], effect["difference"]) == ("quantum", pytest.approx(0.1035))
    text = " ".join(conclusions(result))
    assert "2 differ" in text
    assert "smallest" not in text
    assert [row[-1] for row in cell_table(result)] == ["", "reference", "reference", "higher", "higher"]


def test_a_null_result_is_said_as_such(planted):
    result = planted(lambda arm, circuit, seed: 0.1 * (-1) ** seed * (arm == "quantum"), 10)
    assert "none differ" in " ".join(conclusions(result))
    assert cell_table(result)[-1][-1] == "no difference shown"


def test_equality_within_a_declared_margin_is_claimed_where_it_is_shown(planted):
    def kid(arm, circuit, seed):
        return seed + 0.01 * (-1) ** seed * (arm == "quantum") + (circuit == "shots") * (arm == "quantum") * seed

    result = planted(kid, 10, margins={"kid": 0.05})
    assert [row[-1] for row in cell_table(result)][3:] == ["equal within 0.05", "higher"]
    equal, other = result["comparisons"]
    assert (equal["p_equal"], equal["p_equal_holm"]) == (2.0**-10, 2.0**-9)
    assert other["p_equal"] > 0.9
    assert 0.01 < equal["detectable"] < 0.02
    text = " ".join(conclusions(result))
    assert "1 of them is shown to be equal to the reference within 0.05" in text
    assert "would have been shown" in text


def test_too_few_seeds_are_said_to_show_nothing(planted):
    result = planted(lambda arm, circuit, seed: float(arm == "quantum") + seed, 4)
    text = " ".join(conclusions(result))
    assert "smallest possible p is 0.125" in text
    assert seeds_needed(2) == 7
    assert "take 7 seeds" in text


def test_a_further_metric_is_compared_for_itself(planted):
    def accuracy(arm, circuit, seed):
        return None if (arm, circuit, seed) == ("plain", "exact", 0) else 0.9 + 0.05 * (arm == "quantum") + 0.001 * seed

    result = planted(lambda arm, circuit, seed: seed, 9, also={"class_accuracy": accuracy})
    assert [item["n_pairs"] for item in result["comparisons"]] == [9, 9]
    kid, judged = views(result)
    assert kid is result
    assert [item["n_pairs"] for item in judged["comparisons"]] == [8, 9]
    assert [item["difference"] for item in judged["comparisons"]] == pytest.approx([0.05, 0.05])
    assert [item["p_holm"] for item in judged["comparisons"]] == [2 / 2**8, 2 * 2 / 2**9]
    assert {cell["floor"] for cell in judged["cells"]} == {0.99}
    text = " ".join(conclusions(judged))
    assert "2 differ in Class accuracy" in text
    assert "class_accuracy was not measured" in text
    assert "none differ in KID" in " ".join(conclusions(kid))


CONDITIONAL = {
    "base": BASE | {"model": {**BASE["model"], "condition": "class"}},
    "train": {"arm": {"plain": {"model.bottleneck.core": "se"}, "quantum": {}}},
}


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"metric": "class_accuracy"}, ["`metric: class_accuracy`", "train arm=plain", "model.condition: class"]),
        ({"also": ["synthetic_training"]}, ["`also: synthetic_training`", "train arm=plain", "model.condition: class"]),
        ({"metric": "fid"}, ["`metric: fid`", "65 of each", "20 generated", "sampling.images"]),
        (
            {"sample": {"k": {"a": {}, "b": {"evaluation.neighbours": 20}}}, "also": ["recall"]},
            ["`also: recall`", "k=b", "21 of each", "evaluation.neighbours"],
        ),
        ({"metric": "label_auc", **CONDITIONAL}, ["`metric: label_auc`", "take `class_accuracy`"]),
        ({"metric": "class_kid", **CONDITIONAL}, ["`metric: class_kid`", "10 generated", "sampling.images"]),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_metric_that_no_cell_measures_is_refused_before_training(write, tmp_path, command, sections, named, dry):
    code, said, err = command("study", write(**sections), "--out", tmp_path / "out", *dry)
    assert (code, said) == (2, "")
    assert len(err.strip().splitlines()) == 1
    for part in ("study `tiny`", *named):
        assert part in err
    assert not (tmp_path / "out").exists()


def test_what_is_said_to_be_unmeasured_is_what_the_evaluation_leaves_without_a_value(cached, make_run, digits):
    few, condition = digits.test[:20], {"model": CONDITIONAL["base"]["model"]}
    run = make_run(few, **condition, evaluation={"kid_subsets": 2, "kid_subset_size": 5})
    with np.load(run.images_file) as file:
        arrays = dict(file)
    for labels, config in ((None, BASE), (np.arange(20) % 10, BASE | condition)):
        np.savez(run.images_file, **arrays, **({} if labels is None else {"labels": labels}))
        metrics = evaluate(run)["metrics"]
        lacking = unmeasured(build_config({"name": "x", **config}), digits)
        assert lacking.keys() == {name for name in TITLES if metrics.get(name, {"value": None})["value"] is None}


def test_a_cell_without_the_metric_is_told_and_stops_no_other(planted, tmp_path, write, command):
    planted(lambda arm, circuit, seed: seed, 2)
    path, out = write(metric="class_accuracy", also=["kid"]), tmp_path / "out"
    code, _, err = command("study", path, "--out", out)
    assert code == 2
    assert "8 of 8 cells failed, first train arm=plain" in err
    assert "class_accuracy was not measured: `runs/arm=plain/seed-0/cells/circuit=exact/evaluation.json`" in err
    assert "tries" not in err
    result = json.loads((out / "study.json").read_text())
    assert [cell["n_seeds"] for cell in result["also"]["kid"]["cells"]] == [2, 2, 2, 2]
    assert "KID: cells" in (out / "summary.md").read_text()


def test_cells_carry_reliance(planted):
    def relied(arm, circuit, seed):
        if arm == "plain":
            return {"reason": "no core", "depends": None}
        change = {"kid": {"value": 0.5 + 0.1 * seed}, "class_accuracy": {"value": -0.8}}
        return {"depends": seed > 0, "untouched": {}, "outputs": {"zeroed": {"difference": change}}}

    result = planted(lambda arm, circuit, seed: seed, 6, relied=relied)
    cells = {tuple(cell["levels"].values()): cell["reliance"] for cell in result["cells"]}
    assert cells["plain", "exact"] is None
    found = cells["quantum", "shots"]
    assert (found["n_seeds"], found["depends"]) == (6, 5)
    assert found["kid"] == pytest.approx(0.75)
    assert found["class_accuracy"] == pytest.approx(-0.8)
    assert found["interval"][0] < 0.75 < found["interval"][1]
    assert sum(row["reliance"] is not None for row in result["runs"]) == 12
    table = cell_table(result)
    assert table[0][-1] == "KID change, outputs zeroed"
    assert all(len(row) == len(table[0]) for row in table)
    assert [row[-1][:3] for row in table[1:]] == ["", "", "0.7", "0.7"]
    assert any(line.startswith("In 10 of 12 runs the images depend") for line in conclusions(result))


def test_a_missing_cell_leaves_its_pair_out(planted):
    result = planted(lambda arm, circuit, seed: seed, 6, missing={(2, "quantum", "shots")})
    assert [item["n_pairs"] for item in result["comparisons"]] == [6, 5]
    assert result["effects"][0]["n_pairs"] == 5
    assert "1 of 24" in conclusions(result)[-1]


def test_a_dry_run_tells_what_it_takes_and_what_it_can_show(write, tmp_path, command):
    code, said, _ = command("study", write(), "--dry-run", "--out", tmp_path / "out", "--set", "training.steps=9")
    assert code == 0
    assert "set training.steps=9" in said
    assert "arm=quantum: 9 steps" in said
    assert "2 trainings and 4 cells, 2 seeds of each" in said
    assert "2 cells are compared with the reference: the smallest p of 2 pairs is 0.5, after correction 1" in said
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_runs_is_refused(write, tmp_path, command):
    study = load_study(write())
    RunDirectory.create(tmp_path / "out" / study.trainings[0].folder, study.trainings[0].config)
    code, _, err = command("study", write(), "--out", tmp_path / "out", "--set", "training.steps=9")
    assert code == 2
    assert "training.steps: 8 there, 9 here" in err
    assert len(err.strip().splitlines()) == 1


def test_a_killed_study_goes_on_and_a_failing_level_stops_no_other(write, tmp_path, cached, digits, command):
    feature_extractor(digits)  # once here, instead of in both workers
    arms = STUDY["train"]["arm"] | {"diverging": {"training.learning_rate": 1e30, "training.warmup_steps": 0}}
    base = BASE | {"evaluation": BASE["evaluation"] | {"reliance": None}}
    path, out = write(base=base, train={"arm": arms}), tmp_path / "out"
    with (tmp_path / "errors").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "qhybrid", "study", path, "--out", out, "--jobs", "2"], stderr=log
        )
    while not list(out.glob("runs/*/seed-0/cells/*/cell.json")):
        assert process.poll() is None, (tmp_path / "errors").read_text()
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    gone, alive = psutil.wait_procs(workers, timeout=20)
    assert len(gone) >= 2
    assert not alive
    before = {file: file.stat().st_mtime_ns for file in out.glob("runs/*/seed-*/cells/*/cell.json")}
    code, said, errors = command("study", path, "--out", out)
    assert code == 2
    assert "the loss is" in errors.splitlines()[-1]
    assert "Failed: train arm=diverging" in said
    assert before
    assert before == {file: file.stat().st_mtime_ns for file in before}
    result = json.loads((out / "study.json").read_text())
    values = {(*run["levels"].values(), run["seed"]): run["value"] for run in result["runs"]}
    assert len(values) == 12
    for (arm, _, _), value in values.items():
        assert (value is None) == (arm == "diverging")
    assert values["plain", "exact", 0] != values["quantum", "exact", 0]
    assert values["quantum", "exact", 0] != values["quantum", "shots", 0]
    with np.load(out / "runs/arm=quantum/seed-1/cells/circuit=shots/samples/images.npz") as file:
        assert file["seeds"][0] == 1_000_000
    assert (out / "study.png").read_bytes()[:4] == b"\x89PNG"
    assert [(item["levels"]["sample.circuit"], item["seed"]) for item in result["samples"]] == [
        ("exact", 0),
        ("shots", 0),
    ] * 2
    page = (out / "study.html").read_bytes()
    (out / "study.html").unlink()
    assert command("report", out)[0] == 0
    assert (out / "study.html").read_bytes() == page
    assert page.count(b"data:image/png;base64,") == 4
    assert "| plain | shots | 2 |" in (out / "summary.md").read_text()


def test_damaged_files_of_finished_cells_are_one_line_that_names_the_file(planted, tmp_path, write, command):
    planted(lambda arm, circuit, seed: seed, 2)
    path, out = write(), tmp_path / "out"
    folder = out / "runs/arm=plain/seed-1/cells/circuit=exact"
    log = out / "runs/arm=plain/seed-1/train.jsonl"
    for file, contents in (
        (folder / "evaluation.json", ("[]", "null", "{", "", "{}", '{"metrics": {"kid": {}}}', '{"metrics": []}')),
        (folder / "evaluation.json", ('{"metrics": {"kid": {"value": "x"}}}', '{"metrics": {"kid": {"value": NaN}}}')),
        (folder / "evaluation.json", ('{"metrics": {}, "reliance": {"untouched": {}}}', '{"metrics": {"kid": null}}')),
        (folder / "cell.json", ("[]", "null", "{", "", "{}", '{"seconds": 3}', '{"seconds": {"sampling": "x"}}')),
        (log, ("3\n{}\n", "{}\n", '{"seconds": 3}\n')),
    ):
        whole = file.read_text() if file.exists() else None
        for content in contents:
            file.write_text(content)
            code, said, err = command("study", path, "--out", out)
            assert (code, said) == (2, ""), (file, content)
            assert len(err.splitlines()) == 1
            assert str(file) in err
        file.unlink() if whole is None else file.write_text(whole)
    assert command("study", path, "--out", out)[0] == 0
