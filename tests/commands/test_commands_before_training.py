"""What cannot work is refused before anything is trained, drawn or written, whoever asks for it."""

import numpy as np
import pytest
import yaml

from qhybrid import train
from qhybrid.config import build_config
from qhybrid.diffusion.bank import Bank, BankRecord, write_bank
from qhybrid.diffusion.errors import NoiseError
from qhybrid.errors import EvaluationError
from qhybrid.rundir import RunDirectory

TINY = {
    "name": "tiny",
    "model": {"channels": [8, 8, 8], "time_dim": 8},
    "quantum": {"qubits": 2, "layers": 1},
    "diffusion": {"timesteps": 20},
    "training": {"steps": 2, "batch_size": 4, "device": "cpu"},
    "sampling": {"images": 10, "steps": 2},
    "evaluation": {},
}


def data_set(folder, *, classes=2, tests=20):
    """The `data` section of a set of 20 random training images."""
    rng = np.random.default_rng(0)
    path = folder / f"{classes}-{tests}.npz"
    arrays = {}
    for split, count in (("train", 20), ("test", tests)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, 8, 8), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % classes
    np.savez(path, **arrays)
    return {"name": "npz", "path": str(path)}


def hopeless(folder):
    """Sections of a run of which a later stage cannot work, and what its refusal names."""
    return {
        "one class": ({"data": data_set(folder, classes=1)}, "1 class"),
        "few test images": ({"data": data_set(folder, tests=9)}, "9 test images"),
        "few images": ({"sampling": {"images": 9, "steps": 2}}, "sampling.images: 9"),
        "no such device": ({"evaluation": {"reliance": {"device": "fake_nowhere"}}}, "fake_nowhere"),
        "no such class": (
            {
                "data": {"classes": [3, 7]},
                "model": TINY["model"] | {"condition": "class", "bottleneck": {"place": "condition"}},
                "sampling": {"classes": [5], "images": 10, "steps": 2},
            },
            "class 5",
        ),
        "no such noise in sampling": (
            {
                "quantum": {"qubits": 2, "layers": 1, "noise": {"device": "fake_nowhere"}},
                "diffusion": {"timesteps": 20, "noise": {"circuit": "sampling"}},
            },
            "fake_nowhere",
        ),
    }


@pytest.fixture
def config(tmp_path):
    def write(**sections):
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(TINY | sections))
        return path

    return write


def refused(answer, reason):
    code, out, err = answer
    assert code == 2, (out, err)
    assert len(err.strip().splitlines()) == 1
    assert reason in err


CASES = ["one class", "few test images", "few images", "no such device", "no such class", "no such noise in sampling"]


@pytest.mark.parametrize("case", CASES)
def test_a_stage_that_cannot_work_is_refused_by_every_way_to_train(tmp_path, config, command, case):
    sections, reason = hopeless(tmp_path)[case]
    path, out = config(**sections), tmp_path / "run"
    for name in ("train", "run"):
        refused(command(name, path, "--out", out), reason)
        assert not out.exists()
    settings = build_config(TINY | sections)
    with pytest.raises(Exception, match=reason) as caught:
        train(settings, out)
    assert type(caught.value).__module__.startswith("qhybrid")
    assert not out.exists()
    RunDirectory.create(out, settings)
    for name in ("train", "run"):
        refused(command(name, path, "--out", out, "--resume"), reason)
    assert sorted(item.name for item in out.iterdir() if not item.name.startswith(".")) == ["config.yaml", "meta.json"]


def test_a_study_is_refused_before_its_first_cell(tmp_path, command):
    base = {key: value for key, value in TINY.items() if key != "name"}
    study = {"name": "s", "base": base | {"data": data_set(tmp_path)}, "seeds": [0, 1], "train": {}, "sample": {}}
    levels = {
        "9 test images": ("train", {"data": data_set(tmp_path, tests=9)}),
        "1 class": ("train", {"data": data_set(tmp_path, classes=1)}),
        "sampling.images: 9": ("sample", {"sampling.images": 9}),
        "fake_nowhere": ("sample", {"quantum.noise": {"device": "fake_nowhere"}}),
    }
    for reason, (kind, keys) in levels.items():
        factor = {"f": {"good": {}, "bad": keys}}
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(study | {kind: factor}))
        refused(command("study", path, "--out", tmp_path / "out"), reason)
        assert not (tmp_path / "out").exists()


def test_images_that_a_base_alone_could_not_judge_stop_no_study_whose_cells_can(tmp_path):
    from qhybrid.studies.plan import load_study
    from qhybrid.studies.run import check_cells

    base = {key: value for key, value in TINY.items() if key != "name"} | {"sampling": {"images": 9, "steps": 2}}
    path = tmp_path / "study.yaml"
    path.write_text(
        yaml.safe_dump({"name": "s", "base": base, "seeds": [0], "sample": {"n": {"10": {"sampling.images": 10}}}})
    )
    study = load_study(path)
    check_cells(study, tmp_path / "out")
    (training,) = study.trainings
    with pytest.raises(EvaluationError, match="images: 9"):
        train(training.config, tmp_path / "run")


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({}, "noise_bank.normals: 1000"),
        ({"sampling": {"images": 9, "steps": 2}}, "sampling.images: 9"),
        ({"data": {"classes": [30]}}, "no class 30"),
        ({"quantum": {"qubits": 40, "layers": 1}}, "40 qubits"),
        ({"quantum": {"qubits": 6, "layers": 1}, "hardware": {"backend": "fake_manila"}}, "6 qubits"),
        ({"hardware": {"backend": "fake_nowhere"}}, "fake_nowhere"),
    ],
)
def test_no_bank_is_drawn_for_a_run_that_cannot_work(tmp_path, config, command, sections, reason):
    bank = tmp_path / "bank.npz"
    noise = {"timesteps": 20, "noise": {"source": "quantum_bits", "bank": str(bank)}}
    path = config(noise_bank={"normals": 1000, "backend": "fake_manila"}, diffusion=noise, **sections)
    before = sorted(tmp_path.iterdir())
    refused(command("run", path, "--out", tmp_path / "run"), reason)
    assert sorted(tmp_path.iterdir()) == before


def test_no_bank_is_drawn_for_a_run_that_cannot_be_written(tmp_path, config, command):
    noise = {"timesteps": 20, "noise": {"source": "quantum_bits", "bank": str(tmp_path / "bank.npz")}}
    path = config(noise_bank={"normals": 1_000_000, "backend": "fake_manila"}, diffusion=noise)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").touch()
    before = sorted(tmp_path.iterdir())
    refused(command("run", path, "--out", path / "run"), "is no folder")
    refused(command("run", path, "--out", tmp_path / "photos"), "no run directory")
    refused(command("run", path, "--resume"), "--out")
    assert sorted(tmp_path.iterdir()) == before


def bank_of(path, numbers):
    record = BankRecord("own", "gaussian", (numbers,), {"resolution": 12}, {"backend": "none"}, "")
    write_bank(path, record, [np.random.default_rng(0).integers(0, 4096, numbers)])
    return Bank(path)


def test_a_bank_that_is_too_small_for_the_images_is_refused_before_the_training(tmp_path):
    # Training: 2 draws of 4 * 64 numbers from 8/9 of the bank; images: 10 latents of 64 numbers from 1/9.
    enough = 9 * 10 * 64
    for numbers, fits in ((enough, True), (enough - 9, False)):
        bank_of(tmp_path / "bank.npz", numbers)
        noise = {"source": "gaussian", "bank": str(tmp_path / "bank.npz"), "accept": ["own"], "reverse": False}
        settings = build_config(TINY | {"evaluation": None, "diffusion": {"timesteps": 20, "noise": noise}})
        if fits:
            train(settings, tmp_path / "fits")
        else:
            with pytest.raises(NoiseError, match="latent"):
                train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_bank_that_others_have_used_up_is_refused_before_the_training(tmp_path):
    from qhybrid.diffusion.bank import locked_record, write_record

    path = tmp_path / "bank.npz"
    numbers = 9 * 10 * 64
    bank_of(path, numbers)
    noise = {"source": "gaussian", "bank": str(path), "accept": ["own"], "reverse": False}
    settings = build_config(TINY | {"evaluation": None, "diffusion": {"timesteps": 20, "noise": noise}})
    # Of what is left after others, the training takes 512 numbers and the images 640.
    for drawn, fits in ((numbers - 512 - 639, False), (numbers - 512 - 640, True)):
        with locked_record(path) as record:
            record.drawn.clear()
            record.drawn["others"] = drawn
            write_record(path, record)
        if fits:
            run = train(settings, tmp_path / "run")
            from qhybrid import sample

            assert len(sample(run)) == 10
            # What the run has drawn itself counts once.
            train(settings, tmp_path / "run", resume=True)
        else:
            with pytest.raises(NoiseError, match="this run needs 1,152"):
                train(settings, tmp_path / "run")
            assert not (tmp_path / "run").exists()
