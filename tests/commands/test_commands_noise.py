"""`qhybrid noise` and runs with noise as a user meets them."""

import json

import numpy as np
import yaml

from qhybrid.config import SimulatedNoiseConfig
from qhybrid.diffusion.bank import read_record
from qhybrid.diffusion.making import make_bank

TINY = {
    "name": "tiny",
    "model": {"channels": [8, 16, 24], "time_dim": 16},
    "quantum": {"qubits": 2, "layers": 1},
    "training": {"steps": 4, "batch_size": 8, "checkpoint_every": 2, "log_every": 2, "device": "cpu"},
}


def test_make_certify_show(tmp_path, command):
    bank = tmp_path / "bank.npz"
    code, out, err = command(
        "noise", "make", "--out", bank, "--extractor", "toeplitz", "--numbers", 8000, "--device", "fake_manila",
        "--qubits", 4, "--name", "mine",
    )  # fmt: skip
    assert code == 0, err
    assert "keeps its claim" in out
    assert "4.325" in out
    record = read_record(bank)
    assert record.name == "mine"
    assert record.provenance["backend"] == "fake_manila"
    assert len(record.provenance["raw_bias"]) == 4
    assert "OPENQASM" in record.provenance["circuit"]
    assert 0.9 < record.provenance["raw_min_entropy_per_bit"] <= 1
    code, out, err = command("noise", "certify", bank)
    assert code == 0, err
    assert "min_entropy_markov" in out
    code, out, err = command("noise", "show", bank)
    assert code == 0, err
    assert "certified" in out
    assert bank.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"


def test_show_draws_a_schedule_and_reports_its_end(tmp_path, command):
    path = tmp_path / "config.yaml"
    knots = {"kind": "knots", "knots": [[0, 8], [0.4, 0], [1, -9]]}
    noise = {
        "source": "quantum_intrinsic",
        "simulate": {"qubits": 4},
        "share": {"kind": "cosine", "start": 0, "end": 1},
    }
    path.write_text(yaml.safe_dump(TINY | {"diffusion": {"schedule": knots, "times": "min_snr", "noise": noise}}))
    code, out, err = command("noise", "show", path, "--out", tmp_path / "curves.png")
    assert code == 0, err
    assert "ratio: 0.000123" in out
    assert (tmp_path / "curves.png").exists()


def test_bad_input_ends_in_one_line_with_exit_code_2(tmp_path, command):
    banks = tmp_path / "banks"
    good, small = banks / "good.npz", banks / "small.npz"
    make_bank(good, "gaussian", SimulatedNoiseConfig(), 20_000)
    make_bank(banks / "tiles.npz", "quantum_intrinsic", SimulatedNoiseConfig(qubits=6, shots=4), 12_000)
    make_bank(small, "gaussian", SimulatedNoiseConfig(), 6_400)
    truncated = banks / "truncated.npz"
    truncated.write_bytes(good.read_bytes()[:5000])
    truncated.with_suffix(".json").write_bytes(good.with_suffix(".json").read_bytes())
    shape = banks / "shape.npz"
    np.savez(shape, integers=np.zeros((5, 4), np.uint16))
    shape.with_suffix(".json").write_bytes(good.with_suffix(".json").read_bytes())

    def bank(path, **more):
        return {"noise": {"source": "gaussian", "bank": str(path)} | more}

    tiles = bank(banks / "tiles.npz", source="quantum_intrinsic", accept=["tiles-0"])
    cases = [
        (bank(truncated), ["truncated.npz", "truncated"]),
        (bank(shape), ["shape.npz", "(5, 4)"]),
        (tiles, ["tiles.npz", "2x3", "8x8"]),
        ({"noise": {"source": "quantum_intrinsic", "simulate": {"qubits": 5}}}, ["1x5", "8x8"]),
        (bank(small), ["small.npz", "exhausted"]),
        (bank(good, device="fake_torino"), ["PCG64", "fake_torino"]),
        (bank(good, share=1.5), ["share", "1.5"]),
        ({"schedule": {"kind": "knots", "knots": [[0, 1], [0.5, 2], [1, -9]]}}, ["must fall"]),
        ({"schedule": {"kind": "knots", "knots": [[0, 9], [1, 0]]}}, ["signal-to-noise"]),
    ]
    path, out = tmp_path / "config.yaml", tmp_path / "run"
    training = TINY["training"] | {"steps": 30}
    for diffusion, named in cases:
        path.write_text(yaml.safe_dump(TINY | {"training": training, "diffusion": diffusion}))
        code, _, err = command("train", path, "--out", out)
        lines = err.strip().splitlines()
        assert code == 2, (diffusion, err)
        assert len(lines) == 1, (diffusion, err)
        assert lines[0].startswith("error: ")
        for part in named:
            assert part in lines[0], (diffusion, err)
        assert not out.exists()
    for arguments, part in (
        (("make", "--out", tmp_path / "bank.txt"), "npz"),
        (("make", "--out", tmp_path / "bank.npz", "--device", "fake_nowhere"), "fake_nowhere"),
        (("make", "--out", tmp_path / "bank.npz", "--extractor", "magic"), "'magic'"),
        (("make", "--out", tmp_path / "bank.npz", "--source", "white"), "`white`"),
        (("certify", tmp_path / "nowhere.npz"), "nowhere.npz"),
        (("show", truncated), "truncated"),
    ):
        code, _, err = command("noise", *arguments)
        assert code == 2, (arguments, err)
        assert part in err.strip().splitlines()[-1], (arguments, err)


def test_a_run_is_entered_into_its_banks_record_once(tmp_path, command):
    bank = tmp_path / "bank.npz"
    make_bank(bank, "gaussian", SimulatedNoiseConfig(), 20_000)
    path, out = tmp_path / "config.yaml", tmp_path / "run"
    noise = {"source": "gaussian", "bank": str(bank)}
    sampling = {"images": 5, "steps": 3, "eta": 1.0}
    path.write_text(yaml.safe_dump(TINY | {"diffusion": {"noise": noise}, "sampling": sampling}))
    code, said, err = command("train", path, "--dry-run")
    assert code == 0, err
    assert "terminal signal-to-noise ratio 2.4e-09" in said
    assert "used 0.00 times" in said
    for options in ((), ("--resume",)):
        code, _, err = command("run", path, "--out", out, *options)
        assert code == 0, err
        drawn = read_record(bank).drawn
        assert sorted(drawn.values()) == [5 * 64 + 5 * 3 * 64, 4 * 8 * 64]
    meta = json.loads((out / "checkpoints" / "step-4" / "meta.json").read_text())
    assert meta["config"]["diffusion"]["noise"]["bank"] == str(bank)
    assert meta["config"]["diffusion"]["noise"]["reuse"] == 1


def test_one_checkpoint_is_compared_exactly_with_shots_and_under_noise(tmp_path, command):
    path, out = tmp_path / "config.yaml", tmp_path / "run"
    training = TINY["training"] | {"steps": 30, "learning_rate": 1e-2, "warmup_steps": 0, "ema_decay": 0.5}
    sampling = {"images": 30, "steps": 3}
    evaluation = {"kid_subsets": 3, "kid_subset_size": 20}
    sections = {"training": training, "sampling": sampling, "evaluation": evaluation}
    path.write_text(yaml.safe_dump(TINY | sections))
    assert command("train", path, "--out", out)[0] == 0
    code, said, err = command("noise", "compare", out, "--device", "fake_manila", "--shots", 4)
    assert code == 0, err
    assert all(name in said for name in ("exact", "shots", "device", "device and shots", "KID", "real images"))
    result = json.loads((out / "noise" / "comparison.json").read_text())
    ways = result["ways"]
    assert ways["exact"]["pixel_difference"] == 0
    assert 0 < ways["device"]["pixel_difference"] < ways["device_and_shots"]["pixel_difference"]
    with np.load(out / "noise" / "images.npz") as file:
        assert set(file) == {"seeds", *ways}
        assert file["shots"].shape == (30, 8, 8)
    code, _, err = command("noise", "compare", out, "--device", "fake_nowhere")
    assert code == 2
    assert "fake_nowhere" in err
