"""Tiny finished runs, and ways to damage them on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import ModularAddition
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec, TrainSpec

FILES = ("spec.json", "history.csv", "trained.safetensors", "environment.json", "run.json")
#: Of a run that keeps steps.
KEEPING_FILES = ("kept.safetensors", *FILES)

Damage = Callable[[Path], None]


def tiny_spec(trainable: str = "embeddings", seed: int = 0, p: int = 5, **training_fields: object) -> RunSpec:
    fields = {"n_warmup_steps": 0, "learning_rate": 1e-2, "steps_per_evaluation": 2, **training_fields}
    training = TrainSpec(n_steps=4, batch_size=4, **fields)
    return RunSpec(ModularAddition(p=p), ModelSpec(d_model=8), training, trainable, seed)


def same(left: Run, right: Run) -> bool:
    """Everything that is stored is equal, bit for bit."""
    return (
        (left.spec, left.fingerprint, left.environment) == (right.spec, right.fingerprint, right.environment)
        and (left.stopped_at_step, left.kept_steps) == (right.stopped_at_step, right.kept_steps)
        and left.history.equals(right.history)
        and left.history.schema == right.history.schema
        and same_tensors(left.trained, right.trained)
        and all(same_tensors(trained, right.kept[step]) for step, trained in left.kept.items())
    )


def same_tensors(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(tensor, right[name]) for name, tensor in left.items())


def reseal(folder: Path) -> None:
    """Make the recorded hashes those of the files as they are now."""

    def refresh(record: dict) -> None:
        files = [path for path in folder.iterdir() if path.name != "run.json"]
        record["sha256"] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    edit_json("run.json", refresh)(folder)


def resealed(damage: Damage) -> Damage:
    def apply(folder: Path) -> None:
        damage(folder)
        reseal(folder)

    return apply


def edit_json(name: str, change: Callable[[dict], object]) -> Damage:
    def apply(folder: Path) -> None:
        fields = json.loads((folder / name).read_text())
        change(fields)
        (folder / name).write_text(json.dumps(fields))

    return apply


def as_format(version: int) -> Damage:
    """Make of a run what an earlier version of the code wrote, without what later ones record."""
    names = ["task_module", "body_module"]
    if version == 1:
        names += ["cuda", "numpy", "tokenizers", "transformer_lens", "git_commit", "git_dirty", "peak_memory_bytes"]
        names += ["command"]

    def without_later(fields: dict) -> None:
        for name in names:
            del fields[name]

    def apply(folder: Path) -> None:
        resealed(edit_json("environment.json", without_later))(folder)
        edit_json("run.json", lambda fields: fields.pop("stopped_at_step"))(folder)
        edit_json("run.json", lambda fields: fields.update(format_version=version))(folder)

    return apply


def edit_tensors(change: Callable[[dict[str, Tensor]], object]) -> Damage:
    """Change the stored tensors and the recorded hash with them."""

    def apply(folder: Path) -> None:
        path = folder / "trained.safetensors"
        tensors = safetensors.torch.load(path.read_bytes())
        change(tensors)
        safetensors.torch.save_file(tensors, path)
        reseal(folder)

    return apply


def edit_text(name: str, old: str, new: str) -> Damage:
    def apply(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return apply


def edit_bytes(name: str, change: Callable[[bytes], bytes]) -> Damage:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return apply


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
