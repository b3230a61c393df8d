"""``rtinterp ladder`` from the command line: small ladders that are climbed in seconds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from rich.console import Console

from rtinterp.cli import main
from rtinterp.cli.ladder import told
from rtinterp.cli.ladder_options import read_dial, read_settings, read_widths
from rtinterp.executors.sweep import Report, Sweep, train
from rtinterp.executors.workers import Workers
from rtinterp.papers.ladder import climbing
from rtinterp.papers.ladder.rungs import DIALS, value_of
from rtinterp.store import RunStore
from rtinterp.training import peak
from rtinterp.training.spec import TrainSpec

#: Enough to sort five bits when everything trains; too few for embeddings alone.
ENOUGH = TrainSpec(n_steps=80, batch_size=64, learning_rate=2e-2, n_warmup_steps=5, steps_per_evaluation=80)
TOO_FEW = dataclasses.replace(ENOUGH, n_steps=1)
WILD = dataclasses.replace(ENOUGH, n_steps=3, learning_rate=1e30, n_warmup_steps=0)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    turn_dial(monkeypatch, random=TOO_FEW, trained=ENOUGH)


def turn_dial(monkeypatch: pytest.MonkeyPatch, **trainings: TrainSpec) -> None:
    dial = dataclasses.replace(DIALS["sorting"], others=lambda n: {"vocabulary": 2}, values=(7,), **trainings)
    monkeypatch.setitem(DIALS, "sorting", dial)


def climb(folder: Path, *arguments: str) -> int:
    where = ["--runs", str(folder / "runs"), "--out", str(folder), "--device", "cpu"]
    return main(["ladder", "sorting", "--widths", "4,8,12", "--seeds", "2", *where, *arguments])


def tables(folder: Path, name: str = "ladder_sorting") -> tuple[pl.DataFrame, pl.DataFrame]:
    runs, widths = (pl.read_csv(folder / "data" / f"{name}_{what}.csv") for what in ("runs", "widths"))
    return runs, widths


def test_a_ladder_is_climbed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert climb(tmp_path) == 0
    runs, widths = tables(tmp_path)
    trained, random = (
        widths.row(by_predicate=pl.col("trainable") == kind, named=True) for kind in ("all", "embeddings")
    )
    assert (trained["status"], trained["width"], trained["n_widths"]) == ("reached", 4, 2)
    assert (random["status"], random["width"], random["below"], random["n_widths"]) == ("not reached", None, 12, 2)
    assert trained["accuracy_at"] >= 0.99 > random["best_accuracy"]
    by_hand = runs.filter(pl.col("trainable") == "all", pl.col("d_model") == 4)["accuracy"]
    assert trained["accuracy_at"] == pytest.approx(by_hand.median(), abs=1e-6)
    assert len(runs) == len(RunStore(tmp_path / "runs")) == 8
    assert set(runs["dial"]) == {"length"}
    assert set(runs["value"]) == {7}
    assert dict(runs.select("trainable", "n_steps").iter_rows()) == {"all": 80, "embeddings": 1}
    printed = capsys.readouterr()
    assert "<= 4 (" in printed.out
    assert "> 12 (" in printed.out
    assert "8 runs trained" in printed.err


def test_what_is_stored_is_not_trained_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert climb(tmp_path) == 0
    before = [table.rows() for table in tables(tmp_path)]
    capsys.readouterr()
    assert climb(tmp_path) == 0
    assert "0 runs trained" in capsys.readouterr().err
    assert [table.rows() for table in tables(tmp_path)] == before
    assert climb(tmp_path, "--widths", "8,12,16") == 0
    assert "2 runs trained" in capsys.readouterr().err, "of the random ones, 16"


def test_a_training_is_chosen_on_seeds_and_rows_that_are_not_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ("--first-seed", "100", "--set", "test_rows=validation", "--regimes", "all")
    assert climb(tmp_path, *chosen) == 0
    runs, widths = tables(tmp_path, "ladder_sorting_test_rows-validation")
    assert set(runs["trainable"]) == set(widths["trainable"]) == {"all"}
    assert set(runs["seed"]) == {100, 101}
    store = RunStore(tmp_path / "runs")
    assert {getattr(store.spec_of(run_id).task, "test_rows", None) for run_id in store.run_ids()} == {"validation"}
    assert "W*" not in capsys.readouterr().out


def test_several_workers_train_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    turn_dial(monkeypatch, random=TOO_FEW, trained=TOO_FEW)
    alone, beside = (tmp_path / n_workers for n_workers in ("1", "2"))
    for folder in (alone, beside):
        assert climb(folder, "--workers", folder.name, "--widths", "4", "--seeds", "1") == 0
    assert RunStore(beside / "runs").run_ids() == RunStore(alone / "runs").run_ids()
    for one, other in zip(tables(alone), tables(beside), strict=True):
        assert_frame_equal(one, other)


def test_searches_advance_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes are pretended ones: what is asked for is trained here."""
    asked: list[list[tuple[int, str, int]]] = []

    def here(sweep: Sweep, workers: Workers, console: Console) -> Report:
        assert (workers.executor, workers.n_workers) == ("loky", 3)
        asked.append([(value_of(spec.task), spec.trainable, spec.model.d_model) for spec in sweep.specs])
        return train(sweep, Workers("local"), console)

    monkeypatch.setattr(climbing, "train", here)
    monkeypatch.setattr(climbing, "SEARCHES_PER_WORKER", 1)
    turn_dial(monkeypatch, random=TOO_FEW, trained=dataclasses.replace(TOO_FEW, n_steps=2))
    assert climb(tmp_path, "--workers", "3", "--dial", "length=7,8", "--seeds", "1") == 0
    # Of four searches three, none of which any of these widths is enough for; then the last. The longest come first.
    assert asked == [
        *([(8, "all", width), (7, "all", width), (7, "embeddings", width)] for width in (8, 12)),
        *([(8, "embeddings", width)] for width in (8, 12)),
    ]


def test_without_time_nothing_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert climb(tmp_path, "--minutes", "1e-9") == 0
    printed = capsys.readouterr()
    assert "0 runs trained" in printed.err
    assert printed.out.count("open") == 2
    assert not (tmp_path / "data").exists()


def test_a_search_that_is_cut_off_says_what_it_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    turn_dial(monkeypatch, random=TOO_FEW, trained=TOO_FEW)
    monkeypatch.setattr("rtinterp.papers.ladder.climbing.Climb._is_late", property(lambda climb: climb.n_trained > 0))
    assert climb(tmp_path, "--minutes", "60") == 0
    _, widths = tables(tmp_path)
    assert widths.select("trainable", "status", "below", "width").rows() == [("all", "open", 8, None)]
    assert "open: > 8" in capsys.readouterr().out


def test_a_plan_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peak, "SECONDS_PER_SIZE", 0.01)
    assert climb(tmp_path, "--plan") == 0
    all_of_it = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in all_of_it if line.startswith(" all ")] == ["8"], (
        "two widths of two seeds, twice"
    )
    assert list(tmp_path.iterdir()) == []
    assert climb(tmp_path) == 0
    capsys.readouterr()
    assert climb(tmp_path, "--plan") == 0
    assert runs_planned(capsys.readouterr().out) == "0"


def runs_planned(printed: str) -> str:
    (line,) = (line for line in printed.splitlines() if line.startswith(" all "))
    return line.split()[1]


def test_what_diverges_reaches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    turn_dial(monkeypatch, random=WILD, trained=WILD)
    assert climb(tmp_path) == 0
    runs, widths = tables(tmp_path)
    assert runs["accuracy"].null_count() == len(runs)
    assert set(widths["status"]) == {"not reached"}
    assert "not trained: sorting-d8-all-seed0" in capsys.readouterr().err


def test_other_fields_are_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turn_dial(monkeypatch, random=TOO_FEW, trained=TOO_FEW)
    assert climb(tmp_path, "--set", "vocabulary=3", "--dial", "length=5,6") == 0
    runs, _ = tables(tmp_path, "ladder_sorting_vocabulary-3")
    assert {(task.split(", test_rows")[0], value) for task, value in runs.select("task", "value").iter_rows()} == {
        ("Sorting(length=5, vocabulary=3", 5),
        ("Sorting(length=6, vocabulary=3", 6),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sortin"], "unknown task 'sortin'; did you mean 'sorting'?"),
        (["sorting", "--dial", "k=1"], "unknown dial of sorting 'k'; known: length"),
        (["sorting", "--dial", "length"], "--dial length: write a name and whole numbers"),
        (["sorting", "--dial", "length=few"], "--dial length=few: write a name and whole numbers"),
        (["sorting", "--dial", "length=1"], "length=1: should be greater than or equal to 2"),
        (["sorting", "--widths", "20..30"], "there is no power of two from 20 to 30"),
        (["sorting", "--widths", "wide"], "--widths wide: write 16..512"),
        (["sorting", "--widths", "16,18"], "d_model=18 is not a multiple of n_heads=4"),
        (["sorting", "--bodies", "gru"], "unknown body 'gru'"),
        (["sorting", "--regimes", "mlps"], "unknown regime 'mlps'"),
        (["sorting", "--first-seed", "-1"], "seed=-1: should be greater than or equal to 0"),
        (["sorting", "--set", "colour=1"], "unknown setting of sorting 'colour'; known: test_rows, vocabulary"),
        (["sorting", "--set", "length=9"], "unknown setting of sorting 'length'"),
        (["sorting", "--set", "vocabulary"], "--set vocabulary: write a field and its value"),
        (["sorting", "--seeds", "0"], "--seeds 0: at least 1"),
        (["sorting", "--minutes", "0"], "--minutes 0: must be more than 0"),
        (["sorting", "--workers", "0"], "--workers 0: at least 1"),
        (["sorting", "--workers", "-1"], "--workers -1: at least 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_told_in_a_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ladder", *arguments, "--runs", str(tmp_path / "runs"), "--device", "cpu"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "runs").exists()


def test_options_are_read() -> None:
    assert read_dial("k=4,1,2,2") == ("k", (1, 2, 4))
    assert read_settings(("group=Z2", "length=8")) == {"group": "Z2", "length": 8}
    assert read_widths("16..100") == (16, 32, 64)
    assert read_widths("96,16,48") == (16, 48, 96)


def test_least_widths_in_words() -> None:
    row = {"status": "reached", "width": 64, "below": 32, "accuracy_at": 0.995, "accuracy_below": 0.5, "widest": 512}
    row |= {"is_monotone": True}
    assert told(row) == "64 (99.5%; 50.0% at 32)"
    assert told(row | {"is_monotone": False}) == "64 (99.5%; 50.0% at 32), not monotone"
    assert told(row | {"below": None, "accuracy_below": None}) == "<= 64 (99.5%)"
    assert told(row | {"status": "not reached", "width": None, "below": 512}) == "> 512 (50.0%)"
    assert told(row | {"status": "open"}) == "open: > 32, <= 64"
    assert told(row | {"status": "open", "below": None, "width": None}) == "open"
