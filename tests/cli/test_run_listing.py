"""What ``rtinterp list`` prints, in terminals of any width and elsewhere."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import socket
from pathlib import Path

import polars as pl
import pytest

from rtinterp.cli import main
from rtinterp.cli.run_listing import print_runs
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.store import RunStore
from rtinterp.store.checkpoints import StackCheckpoints
from rtinterp.store.failures import Failure
from rtinterp.store.locks import Claim
from rtinterp.store.table import failures_table
from rtinterp.store.training import train
from rtinterp.tasks import ModularAddition
from rtinterp.training.checkpoint import Checkpoint, CheckpointFacts
from rtinterp.training.environment import Environment
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec, TrainSpec

SPEC = RunSpec(ModularAddition(5), ModelSpec(8), TrainSpec(n_steps=4, batch_size=4, n_warmup_steps=0))


@pytest.fixture(scope="module")
def run() -> Run:
    return train(SPEC, device="cpu", progress=False)


@pytest.fixture
def alike() -> list[RunSpec]:
    """Runs that differ in one thing each."""
    base = SPEC
    other_steps, other_rate, other_batch = (
        dataclasses.replace(base, training=dataclasses.replace(base.training, **fields))
        for fields in ({"n_steps": 1000}, {"learning_rate": 0.02}, {"batch_size": 7})
    )
    return [base, dataclasses.replace(base, task=ModularAddition(7)), other_steps, other_rate, other_batch]


def listed(alike: list[RunSpec], environment: Environment) -> pl.DataFrame:
    table = failures_table([Failure(spec, 0, "", environment) for spec in alike])
    return table.with_columns(test_loss=pl.lit(0.5), test_accuracy=pl.lit(0.75), failure=pl.lit(None))


@pytest.mark.parametrize("columns", [80, 120, 300])
def test_in_a_terminal_nothing_is_cut_and_different_runs_look_different(
    alike: list[RunSpec],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    columns: int,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    print_runs(listed(alike, run.environment))
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= columns
    assert [line for line in lines if "…" in line] == []
    starts = [next(i for i, line in enumerate(lines) if spec.run_id in line) for spec in alike]
    assert starts == sorted(starts)
    ends = [*starts[1:], len(lines)]
    shown = [" ".join(lines[start:end]).split() for start, end in zip(starts, ends, strict=True)]
    assert all(len(words) > len(shown[0]) - 1 and "0.7500" in words for words in shown)
    without_ids = {" ".join(word for word in words if "-seed" not in word) for words in shown}
    assert len(without_ids) == len(alike)


def test_redirected_a_row_is_a_line(alike: list[RunSpec], run: Run, capsys: pytest.CaptureFixture) -> None:
    print_runs(listed(alike, run.environment))
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == [
        *("task", "parameters", "body", "width", "trainable", "seed", "steps", "batch", "rate"),
        *("test", "accuracy", "test", "loss", "run", "id"),
    ]
    assert [row.split()[-1] for row in rows] == [spec.run_id for spec in alike]
    assert rows[1].split()[:-1] == [
        *("modular_addition", "p=7", "transformer", "8", "embeddings", "0", "4", "4", "0.001", "0.7500", "0.5")
    ]


def test_what_is_in_training_and_what_is_unfinished_is_listed(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    def lines(*options: str) -> list[str]:
        assert main(["list", *options, "--runs", str(tmp_path)]) == 0
        return capsys.readouterr().out.splitlines()

    training, waiting = (SPEC.with_seed(seed) for seed in (7, 8))
    store = RunStore(tmp_path)
    store.save(run)
    for spec in (training, waiting):
        checkpoints = StackCheckpoints(store.unfinished_folder, [spec])
        checkpoints.begin()
        facts = CheckpointFacts(1, (spec.run_id,), "cpu", 3, (0,), 8, 8, 1.0, {})
        checkpoints.save(Checkpoint(facts, {}))
    claim = store.locks.claim([training.run_id], 4)
    assert isinstance(claim, Claim)
    with claim:
        claim.tell(3, 1.25)
        claim._write()
        by_whom = f"on {socket.gethostname()}, process {os.getpid()}"
        told = [
            f"in training: {training.run_id}: step 3 of 4, loss 1.250, {by_whom}",
            f"unfinished: {waiting.run_id}: step 3 of 4; the command that began it goes on from there",
        ]
        assert lines()[2:] == told
        assert lines("--seed", "7") == [f"none of the 1 runs in {tmp_path} is like that", told[0]]
        shutil.rmtree(tmp_path / run.run_id)
        assert lines() == [f"no finished runs in {tmp_path}", *told]
