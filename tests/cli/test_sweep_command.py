"""``rtinterp sweep`` from the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rtinterp.cli import main
from rtinterp.cli import sweep as sweep_command
from rtinterp.executors.sweep import Report, Sweep
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.papers.affine_recurrences.scales import SCALES as OF_RECURRENCES
from rtinterp.papers.ladder.scales import SCALES as OF_LADDER
from rtinterp.papers.random_attention.scales import SCALES as OF_ATTENTION
from rtinterp.papers.random_transformers.grid import EXPERIMENTS
from rtinterp.papers.random_transformers.scales import SCALES, ImitationBudget, LanguageBudget, Scale, TaskBudget
from rtinterp.store import RunStore
from rtinterp.store.checkpoints import StackCheckpoints
from rtinterp.store.resumable import train_stack_into
from rtinterp.tasks import DecimalAddition, Memorization, ModularAddition, NeedleInAHaystack, ParenthesisBalancing
from rtinterp.training import peak
from rtinterp.training.checkpoint import Checkpoint, CheckpointFacts
from rtinterp.training.spec import RunSpec, TrainSpec

TRAINING = TrainSpec(n_steps=2, batch_size=8, n_warmup_steps=1)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The one scale that all papers have; afterwards the others are back, in their order."""
    tasks = (ModularAddition(p=13), NeedleInAHaystack(4, 16), DecimalAddition(2), ParenthesisBalancing(5))
    scale = Scale(
        algorithmic=tuple(TaskBudget(task, (8, 16), TRAINING, TRAINING, TRAINING) for task in tasks),
        memorization=TaskBudget(Memorization(n_keys=6), (8,), TRAINING, TRAINING, TRAINING),
        imitation=ImitationBudget((4,), 5, 16, ModelSpec(8, n_layers=3), TRAINING, TRAINING),
        language=LanguageBudget(300, 16, (8,), (2,), 4, TRAINING, TRAINING),
    )
    others = dict(SCALES)
    SCALES.clear()
    SCALES["tiny"] = scale
    for own in (OF_RECURRENCES, OF_ATTENTION, OF_LADDER):
        monkeypatch.setitem(own, "tiny", own["quick"])
    for large in ("short", "paper"):
        # Hundreds of models, whose plan takes seconds.
        monkeypatch.delitem(OF_LADDER, large)
    yield
    SCALES.clear()
    SCALES.update(others)


def sweep(*arguments: str, runs: Path) -> int:
    return main(["sweep", *arguments, "--scale", "tiny", "--device", "cpu", "--runs", str(runs)])


def test_it_trains_what_is_missing_and_nothing_twice(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert sweep("table2", "--seeds", "2", runs=tmp_path) == 0
    wanted = {spec.run_id for spec in EXPERIMENTS["table2"](SCALES["tiny"], 2, None)}
    assert set(RunStore(tmp_path).run_ids()) == wanted
    assert f"{len(wanted)} runs trained, 0 left" in capsys.readouterr().err
    assert sweep("table2", "--seeds", "2", runs=tmp_path) == 0
    assert "0 runs to train" in capsys.readouterr().err


def test_a_plan_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "SECONDS_PER_SIZE", 0.01)
    assert sweep("--plan", runs=tmp_path / "runs") == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in EXPERIMENTS if name not in ("figure4", "table5"))
    assert "154 V100-days" in printed
    assert not (tmp_path / "runs").exists()


def test_a_paper_is_planned_without_its_language(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As all papers are; an experiment on language that is named itself asks for a text."""
    monkeypatch.setattr(peak, "SECONDS_PER_SIZE", 0.01)
    assert sweep("random_transformers", "--plan", runs=tmp_path / "runs") == 0
    printed = capsys.readouterr().out
    assert "figure3" in printed
    assert "figure4" not in printed
    assert sweep("random_transformers/figure4", "figure3", "--plan", runs=tmp_path / "runs") == 1
    assert "--corpus PATH" in capsys.readouterr().err


def test_a_minute_that_is_too_short_leaves_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert sweep("figure3", "--minutes", "1e-9", runs=tmp_path) == 0
    assert "0 runs trained, 1 left" in capsys.readouterr().err
    assert RunStore(tmp_path).run_ids() == []


def test_it_says_how_many_checkpoints_wait(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    store = RunStore(tmp_path)
    specs = EXPERIMENTS["table2"](SCALES["tiny"], 2, None)
    for n_steps_done, stack in ((1, specs[:2]), (None, specs[2:4])):
        checkpoints = StackCheckpoints(store.unfinished_folder, stack)
        checkpoints.begin()
        if n_steps_done is not None:
            facts = CheckpointFacts(1, ("a", "b"), "cpu", n_steps_done, (0, 0), 8, 8, 1.0, {})
            checkpoints.save(Checkpoint(facts, {}))
    assert sweep("table2", "--seeds", "2", "--minutes", "1e-9", runs=tmp_path) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "of what is left, 2 have a checkpoint; the same command goes on from there"


def test_a_limit_of_time_keeps_a_little_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines = []

    def train(swept: Sweep, *_: object) -> Report:
        deadlines.append(swept.deadline)
        return Report(0, [], [])

    monkeypatch.setattr(sweep_command, "train", train)
    monkeypatch.setattr(sweep_command.time, "time", lambda: 1000.0)
    for limit in ([], ["--minutes", "0.5"], ["--minutes", "10"], ["--minutes", "600"]):
        assert sweep("figure3", *limit, runs=tmp_path) == 0
    assert deadlines == [None, 1000 + 30 - 5, 1000 + 600 - 30, 1000 + 36_000 - 60]


def test_an_error_in_one_stack_stops_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_memory(store: RunStore, specs: Sequence[RunSpec], *arguments: object, **options: object) -> object:
        if specs[0].trainable == "unembedding" and isinstance(specs[0].task, DecimalAddition):
            raise MemoryError("2 model(s) of width 16 need more")
        return train_stack_into(store, specs, *arguments, **options)

    monkeypatch.setattr("rtinterp.executors.sweep.train_stack_into", without_memory)
    assert sweep("table2", "--seeds", "2", runs=tmp_path) == 1
    wanted = EXPERIMENTS["table2"](SCALES["tiny"], 2, None)
    assert len(RunStore(tmp_path).run_ids()) == len(set(wanted)) - 2
    told = capsys.readouterr().err
    assert "and 1 more seeds: 2 model(s) of width 16 need more" in told
    assert f"{len(wanted) - 2} runs trained, 2 left" in told
    assert told.splitlines()[-1] == "rtinterp sweep: 1 stack or run could not be trained, as told above"


def test_diverged_runs_are_tried_again_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    wild = TrainSpec(n_steps=5, batch_size=8, learning_rate=1e30, n_warmup_steps=0)
    budget = TaskBudget(ModularAddition(p=13), (8, 16), wild, wild, wild)
    monkeypatch.setitem(SCALES, "tiny", dataclasses.replace(SCALES["tiny"], algorithmic=(budget,)))
    for options, n_runs, status in (([], 1, 1), ([], 0, 0), (["--retry-failed"], 1, 1)):
        assert sweep("figure3", *options, runs=tmp_path) == status
        told = capsys.readouterr().err
        assert f"{n_runs} runs to train" in told
        assert "0 runs trained, 0 left" in told
        assert ("not trained: modular_addition-d16-embeddings-seed0" in told) == (status == 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tabel1"], "unknown experiment 'tabel1'; did you mean 'table1'"),
        (["table1", "--seeds", "0"], "--seeds 0: at least 1"),
        (["table1", "--minutes", "0"], "--minutes 0: must be more than 0"),
        (["table1", "--executor", "loky", "--workers", "0"], "--workers 0: at least 1"),
        (["table1", "--workers", "2"], "add --executor loky"),
        (["table1", "--scheduler", "tcp://there:8786"], "it belongs to --executor dask or ray, not local"),
        (["figure4"], "--corpus PATH"),
        (["figure4", "--corpus", "no/such/place"], "no/such/place"),
    ],
    ids=str,
)
def test_bad_input_is_told_in_a_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert sweep(*arguments, runs=tmp_path) == 1
    assert message in capsys.readouterr().err
