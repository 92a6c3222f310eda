"""Files of a run directory: checkpoints, configuration, record and log."""

from __future__ import annotations

import json
import struct

import torch
from fuzzing import ODD, altered, as_json, damaged, inputs, json_file, litter, survives
from hypothesis import given
from hypothesis import strategies as st

from qhybrid.checkpoints.checkpoint import load_checkpoint, load_training_state
from qhybrid.evaluation.samples import load_samples
from qhybrid.rundir import RunDirectory
from qhybrid.training.loop import _trim_log, prepare


def changed(run: RunDirectory, name: str, content: bytes) -> None:
    (run.checkpoints / "step-1" / name).write_bytes(content)


def original(run: RunDirectory, name: str) -> bytes:
    return (run.checkpoints / "step-1" / name).read_bytes()


@inputs(400, 25)
@given(data=st.data(), ema=st.booleans())
def test_weights(data, ema, trained, place):
    content = original(trained, "ema.safetensors")
    length = struct.unpack("<Q", content[:8])[0]
    if data.draw(st.booleans()):
        header = data.draw(altered(json.loads(content[8 : 8 + length]))) if data.draw(st.booleans()) else None
        text = as_json(header).encode() if header is not None else data.draw(damaged(content[8 : 8 + length]))
        content = struct.pack("<Q", len(text)) + text + content[8 + length :]
    else:
        content = data.draw(damaged(content))
    for name in ("ema.safetensors", "model.safetensors"):
        changed(place, name, content)
    survives("weights", lambda: load_checkpoint(place.path, ema=ema))


@inputs(500, 30)
@given(data=st.data())
def test_checkpoint_meta(data, trained, place):
    content = original(trained, "meta.json")
    tree = json.loads(content)
    tree["labels"] = data.draw(st.sampled_from([None, {"names": ["a", "b"], "labels": [0, 1], "counts": [3, 4]}]))
    new = data.draw(json_file(content, tree))
    changed(place, "meta.json", new)
    survives("checkpoint meta.json", lambda: load_checkpoint(place.checkpoints / "step-1"))
    survives("checkpoint meta.json", lambda: load_checkpoint(place.path))


@inputs(300, 20)
@given(data=st.data())
def test_circuit_of_a_checkpoint(data, trained, place):
    changed(place, "circuit.qpy", data.draw(damaged(original(trained, "circuit.qpy"))))
    survives("checkpoint circuit.qpy", lambda: load_checkpoint(place.path))


@inputs(300, 20)
@given(data=st.data())
def test_training_state_bytes(data, trained, place):
    changed(place, "training_state.pt", data.draw(damaged(original(trained, "training_state.pt"))))
    survives("training state bytes", lambda: load_training_state(place.checkpoints / "step-1"))


@inputs(300, 15)
@given(data=st.data())
def test_training_state(data, trained, place):
    folder = place.checkpoints / "step-1"
    tree = load_training_state(trained.checkpoints / "step-1")
    torch.save(data.draw(altered(tree)), folder / "training_state.pt")
    trainer = prepared(trained)
    survives("training state", lambda: trainer.restore(folder))


_TRAINER = []


def prepared(run):
    if not _TRAINER:
        _TRAINER.append(prepare(run.config()))
    return _TRAINER[0]


@inputs(300, 25)
@given(data=st.data())
def test_record_of_a_run(data, trained, place):
    content = trained.meta_file.read_bytes()
    tree = json.loads(content)
    if data.draw(st.booleans()):
        tree = {"inputs": tree["inputs"]}
    new = data.draw(json_file(content, tree))
    place.meta_file.write_bytes(new)

    def read() -> None:
        place.check_inputs()
        place.relocated(place.config())

    survives("run meta.json", read)


@inputs(200, 20)
@given(data=st.data())
def test_configuration_of_a_run(data, trained, place):
    place.config_file.write_bytes(data.draw(damaged(trained.config_file.read_bytes())))

    def read() -> None:
        RunDirectory.create(place.path, trained.config(), resume=True)

    survives("run config.yaml", read)
    assert not litter(place.path)


@inputs(200, 20)
@given(data=st.data())
def test_log(data, place):
    rows = [{"step": 1, "loss": 0.5, "gradient_norm": {"unet": 1.0}}, {"step": 2, "loss": 0.4}]
    lines = [as_json(data.draw(altered(row) | st.just(row) | st.sampled_from(ODD))) for row in rows]
    content = ("\n".join(lines) + "\n").encode()
    place.train_log.write_bytes(data.draw(damaged(content)) if data.draw(st.booleans()) else content)
    survives("train.jsonl", lambda: _trim_log(place, 1))


@inputs(250, 20)
@given(data=st.data())
def test_samples(data, place, digits):
    import io

    import numpy as np

    stream = io.BytesIO()
    shape = data.draw(st.sampled_from([(12, 8, 8), (12,), (), (3, 8, 8), (12, 8, 8, 3), (12, 4, 4)]))
    labels = data.draw(
        st.sampled_from([np.arange(12) % 10, np.zeros(0, int), np.zeros(()), np.full(12, 2**60), np.ones((12, 10))])
    )
    dtype = data.draw(st.sampled_from(["u1", "u1", "i8", "f4", "U2"]))
    seeds = data.draw(st.sampled_from([np.arange(12), np.arange(3), np.zeros(12, "U2"), np.zeros(())]))
    np.savez(stream, images=np.zeros(shape, dtype), seeds=seeds, labels=labels)
    place.images_file.parent.mkdir(exist_ok=True)
    content = stream.getvalue()
    place.images_file.write_bytes(data.draw(damaged(content)) if data.draw(st.booleans()) else content)
    survives("samples", lambda: load_samples(place, digits))


def test_what_is_damaged_was_whole(trained):
    assert load_checkpoint(trained.path).step == 1
    prepared(trained).restore(trained.checkpoints / "step-1")
