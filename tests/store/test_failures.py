"""Runs that diverge are recorded, left alone until they are retried, and told when they are asked for."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from store_references import tiny_spec

from rtinterp.cli import main
from rtinterp.store import RunStore, StoreError
from rtinterp.store.failures import Failure
from rtinterp.store.resumable import train_stack_into
from rtinterp.store.training import train
from rtinterp.training.engine import Engine
from rtinterp.training.loop import DivergenceError
from rtinterp.training.spec import RunSpec

CPU = torch.device("cpu")
SOUND, SPOILED, OTHER = tiny_spec(seed=0), tiny_spec(seed=1), tiny_spec("all")


@pytest.fixture
def empty(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Seed 1 diverges at its third step, as long as this is not undone."""
    step = Engine.step

    def spoiled(engine: Engine) -> torch.Tensor:
        losses = step(engine)
        seeds = [spec.seed for spec in engine.specs]
        if engine.n_steps_done == 3 and 1 in seeds:
            losses[seeds.index(1)] = math.nan
        return losses

    init = Engine.__init__

    def remember(engine: Engine, specs: list[RunSpec], device: torch.device) -> None:
        init(engine, specs, device)
        engine.specs = specs

    monkeypatch.setattr(Engine, "__init__", remember)
    monkeypatch.setattr(Engine, "step", spoiled)
    return monkeypatch


def test_a_failed_run_is_recorded_and_the_others_go_on(empty: RunStore, spoil: pytest.MonkeyPatch) -> None:
    wanted = [SOUND, SPOILED, OTHER]
    with pytest.raises(DivergenceError, match=f"{SPOILED.run_id} failed: the loss became nan at step 3"):
        train(wanted, store=empty, device="cpu", progress=False)
    assert set(empty.run_ids()) == {SOUND.run_id, OTHER.run_id}
    (failure,) = empty.failed()
    assert (failure.spec, failure.step) == (SPOILED, 3)
    assert "the loss became nan at step 3 of 4; lower the learning rate (0.01)" in failure.reason
    assert failure.environment.n_stacked == 2
    assert empty.missing(wanted) == []
    assert empty.missing(wanted, retry_failed=True) == [SPOILED]
    with pytest.raises(StoreError, match=r"seed1-.* failed: the loss became nan at step 3.*--retry-failed"):
        empty.load(SPOILED.run_id)
    assert list((empty.path / ".training" / "unfinished").iterdir()) == []


def test_retrying_trains_it_again_and_forgets_the_failure(empty: RunStore, spoil: pytest.MonkeyPatch) -> None:
    before: list[Failure] = []
    for _ in range(2):
        with pytest.raises(DivergenceError, match=SPOILED.run_id):
            train([SOUND, SPOILED], store=empty, device="cpu", progress=False)
        before = before or empty.failed()
    assert empty.failed() == before, "not tried again"
    with pytest.raises(DivergenceError, match=SPOILED.run_id):
        train([SOUND, SPOILED], store=empty, device="cpu", progress=False, retry_failed=True)
    assert [failure.spec for failure in empty.failed()] == [SPOILED]
    assert empty.failed()[0].environment.n_stacked == 1, "tried again, by itself"
    spoil.undo()
    train([SOUND, SPOILED], store=empty, device="cpu", progress=False, retry_failed=True)
    assert empty.failed() == []
    assert empty.load(SPOILED).spec == SPOILED
    assert list((empty.path / ".failed").iterdir()) == []


def test_a_retry_of_a_stack_that_was_cut_off_after_the_failure(empty: RunStore, spoil: pytest.MonkeyPatch) -> None:
    """The stack that was begun is continued as it is; the failed run is then tried by itself."""
    stop = Engine.step

    def interrupted(engine: Engine) -> torch.Tensor:
        if engine.n_steps_done == 3:
            raise RuntimeError("pulled the plug")
        return stop(engine)

    store = RunStore(empty.path, checkpoint_minutes=0)
    with spoil.context() as patch:
        patch.setattr(Engine, "step", interrupted)
        with pytest.raises(RuntimeError, match="plug"):
            train_stack_into(store, [SOUND, SPOILED], CPU, progress=False)
    assert [failure.spec for failure in store.failed()] == [SPOILED]
    assert store.in_progress() == []
    spoil.undo()
    assert train_stack_into(store, [SOUND, SPOILED], CPU, progress=False, retry_failed=True) == []
    assert store.load(SOUND).environment.n_stacked == 2
    assert store.load(SPOILED).environment.n_stacked == 1
    assert store.failed() == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:40],
        lambda text: json.dumps({**json.loads(text), "surprise": 1}),
        lambda text: json.dumps({**json.loads(text), "spec": "[]"}),
        lambda text: json.dumps({**json.loads(text), "step": -1}),
        lambda text: json.dumps({**json.loads(text), "format_version": 2}),
    ],
    ids=["truncated", "key", "spec", "step", "version"],
)
def test_a_damaged_failure_is_a_store_error_and_takes_no_other_down(
    empty: RunStore, spoil: pytest.MonkeyPatch, damage
) -> None:
    other = tiny_spec("all", seed=1)
    with pytest.raises(DivergenceError, match=rf"{SPOILED.run_id}|{other.run_id}"):
        train([SPOILED, other], store=empty, device="cpu", progress=False)
    file = empty.path / ".failed" / f"{SPOILED.run_id}.json"
    file.write_text(damage(file.read_text()))
    with pytest.warns(UserWarning, match=f"left out a damaged failure.*{SPOILED.run_id}"):
        assert [failure.spec for failure in empty.failed()] == [other]
    with pytest.raises(StoreError, match="not a failure"):
        empty.load(SPOILED.run_id)
    spoil.undo()
    train([SPOILED], store=empty, device="cpu", progress=False, retry_failed=True)
    assert SPOILED in empty


def test_figures_end_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    from rtinterp.papers.random_transformers import EXPERIMENTS, FIGURES, SCALES

    experiment = FIGURES["figure3_embeddings"].experiment
    (spec,) = EXPERIMENTS[experiment](SCALES["quick"], 1, None)
    diverging = dataclasses.replace(spec.training, n_steps=50, learning_rate=1e37, n_warmup_steps=0, batch_size=8)
    spec = dataclasses.replace(spec, training=diverging)
    monkeypatch.setitem(EXPERIMENTS, experiment, lambda *_: [spec])
    where = ["--device", "cpu", "--runs", str(tmp_path / "runs")]
    arguments = ["figures", "--scale", "quick", "--only", "figure3_embeddings", *where]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
    *_, reason, last = capsys.readouterr().err.splitlines()
    assert "figure3_embeddings: not drawn: " in reason
    assert f"{spec.run_id} failed: " in reason
    assert "not drawn: figure3_embeddings; " in last
    assert "--retry-failed" in last
