"""What a notebook shows of a run, a store, a task and a batch."""

from __future__ import annotations

import dataclasses
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar

import polars as pl
import pytest
import torch
from user_tasks import NoisySum, RunningMean, RunningSum

from rtinterp.cards import card, code, curve, facts, sequences, table, text
from rtinterp.cards.parts import Token
from rtinterp.models.parametrisations import RandomSubspace
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.store import RunStore, record
from rtinterp.store import card as store_card
from rtinterp.store.training import train
from rtinterp.tasks import (
    Batch,
    LanguageModelling,
    ModularAddition,
    NeedleInAHaystack,
    ParenthesisBalancing,
)
from rtinterp.training.run import Run
from rtinterp.training.source import source_of
from rtinterp.training.spec import RunSpec, TrainSpec

TRAINING = TrainSpec(n_steps=4, batch_size=4, learning_rate=1e-2, n_warmup_steps=0, steps_per_evaluation=2)
SPEC = RunSpec(ModularAddition(p=5), ModelSpec(8), TRAINING)


class Reader(HTMLParser):
    """The words of a page, of which every element is closed; nothing in it runs or is fetched."""

    VOID: ClassVar[set[str]] = {"rect", "line", "polyline"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "img", "link", "iframe"}
        assert not any(name.startswith("on") or name in {"src", "href"} for name, _ in attrs)
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def words(shown: object) -> list[str]:
    page = shown._repr_html_()
    # Neither light nor dark is taken for granted.
    assert set(re.findall(r"(?<!&)#\w{3,6}\b|(?:rgb|hsl)a?\([^)]*\)", page)) <= {
        "rgba(128, 128, 128, 0.45)",
        "rgba(128, 128, 128, 0.16)",
    }
    return Reader(page).words


@pytest.fixture(scope="module")
def run() -> Run:
    return train(SPEC, device="cpu", progress=False)


def test_every_text_is_escaped() -> None:
    evil = "<script>&\"'"
    parts = text(evil), code(evil), facts({evil: evil}), table([evil], [[evil]]), sequences([[Token(evil, True, evil)]])
    page = card(evil, *parts, curve([0, 1], [0, 1], 0, 1, evil))
    assert "<script" not in page
    assert "".join(Reader(page).words).count(evil) == 10


def test_a_run_shows_its_accuracy_beside_the_floors_its_curve_and_what_remakes_it(run: Run) -> None:
    said = words(run)
    assert said[:2] == [run.run_id, said[1]]
    assert said[1].startswith("4 of 4 steps in ")
    told = dict(zip(said[2::2], said[3::2], strict=False))
    assert told["test accuracy"] == f"{run.test_accuracy:.1%}"
    assert told["without understanding: chance"] == "20.0%"
    page = run._repr_html_()
    (points,) = re.findall(r'<polyline points="([^"]*)"', page)
    heights = [float(point.split(",")[1]) for point in points.split()]
    low, high = 87, 3
    assert heights == pytest.approx([low + (high - low) * a for a in run.history["test_accuracy"]], abs=0.06)
    best = max(SPEC.task.floors().values())
    assert f'y1="{low + (high - low) * best:.1f}"' in page
    (line,) = [word for word in said if word.startswith("train(")]
    scope = {"train": lambda spec, device: (spec, device)} | vars(__import__("rtinterp.tasks", fromlist=["tasks"]))
    assert eval(line, scope | {"RunSpec": RunSpec, "ModelSpec": ModelSpec, "TrainSpec": TrainSpec}) == (SPEC, "cpu")


def test_a_run_without_accuracy_shows_its_loss_and_one_that_was_cut_shows_no_metrics(run: Run) -> None:
    of_values = train(dataclasses.replace(SPEC, task=RunningMean()), device="cpu", progress=False)
    said = words(of_values)
    assert f"{of_values.test_loss:.4g}" in said
    assert any(word.startswith("test loss, ") for word in said)
    assert not any("understanding" in word or "accuracy" in word for word in said)
    cut = dataclasses.replace(run, stopped_at_step=1, history=run.history.filter(pl.col("step") <= 1))
    assert "test accuracy" not in words(cut)
    assert cut.run_id in words(cut)


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        RunSpec(
            NeedleInAHaystack(4, 16), ModelSpec(8, n_layers=3), TrainSpec(9, 4, 0.1, precision="bfloat16"), "all", 3
        ),
        dataclasses.replace(SPEC, parametrisation=RandomSubspace(4)),
        dataclasses.replace(SPEC, training=dataclasses.replace(TRAINING, kept_steps=(0, 1, 2))),
    ],
    ids=["defaults", "others", "subspace", "kept"],
)
def test_the_source_of_a_spec_makes_it_again_and_names_no_defaults(spec: RunSpec) -> None:
    classes = (RunSpec, ModelSpec, TrainSpec, ModularAddition, NeedleInAHaystack, RandomSubspace)
    assert eval(source_of(spec), {cls.__name__: cls for cls in classes}) == spec
    assert "adam_beta1" not in source_of(spec)


def test_the_source_of_a_language_task_has_the_whole_hash() -> None:
    task = LanguageModelling("0123456789abcdef" * 4, 300, 16)
    assert eval(source_of(task), {"LanguageModelling": LanguageModelling}) == task


def test_a_task_shows_what_a_sequence_looks_like_and_the_floors() -> None:
    task = ParenthesisBalancing(max_pairs=10)
    said = words(task)
    assert said[0] == "ParenthesisBalancing(max_pairs=10)"
    assert "equal counts" in said
    assert f"{task.floors()['equal counts']:.1%}" in said
    batch = task.sample(3, torch.Generator().manual_seed(12345))
    shown = "".join(said[3 : said.index("accuracy without understanding")])
    assert shown.split() == "".join(f"{task.decode(tokens)} " for tokens in batch.tokens).split()
    # The query alone is framed.
    assert task._repr_html_().count("border-color: currentColor") == 3


def test_a_task_whose_corpus_is_not_open_says_so() -> None:
    assert "corpus" in words(LanguageModelling("0" * 64, 300, 16))[-1]


@pytest.mark.parametrize("task", [NoisySum(), RunningMean(), RunningSum()], ids=lambda task: task.name)
def test_a_task_of_ones_own_has_a_card(task: object) -> None:
    assert repr(task) in words(task)


def test_a_batch_shows_its_first_sequences_and_marks_what_is_scored() -> None:
    scored = torch.zeros(9, 3, dtype=torch.bool)
    scored[:, 1] = True
    tokens = torch.arange(27).view(9, 3)
    said = words(Batch(tokens, scored))
    assert said[0] == "Batch: 9 sequences of 3 positions, 9 predictions count"
    assert [word for word in said[1:] if word.strip()] == [str(token) for token in range(12)]
    assert " → 60" in words(Batch(tokens, scored, targets=tokens + 59))


def test_a_batch_of_vectors_shows_a_few_of_their_numbers() -> None:
    batch = Batch(torch.arange(8.0).view(1, 2, 4), torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2, 1))
    assert "(4, 5, 6, …)" in words(batch)


def test_a_store_shows_the_newest_runs_and_reads_their_summaries_alone(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path / "runs")
    for seed in range(5):
        store.save(dataclasses.replace(run, spec=SPEC.with_seed(seed)))
    (store.path / store.run_ids()[4] / "history.csv").write_text("x")
    monkeypatch.setattr(store_card, "MAX_ROWS", 4)
    read = []
    summary = record.read_summary
    monkeypatch.setattr("rtinterp.store.table.read_summary", lambda path: read.append(path) or summary(path))
    monkeypatch.setattr("safetensors.torch.load", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = words(store)
    assert said[0] == repr(store)
    assert len(read) == 4
    assert SPEC.with_seed(0).run_id not in said
    assert SPEC.with_seed(3).run_id in said
    assert f"{run.test_accuracy:.1%}" in said
    assert "p=5" in said
    assert any(word.startswith("and 1 older run") for word in said)
    assert any("damaged" in word and "history.csv" in word for word in said)


def test_a_store_shows_what_is_unfinished(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs", checkpoint_minutes=0)

    def interrupt(snapshot: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(SPEC, store=store, device="cpu", progress=False, on_evaluation=interrupt)
    said = words(store)
    assert said[said.index(SPEC.run_id) :] == [SPEC.run_id, "2 of 4", "a checkpoint waits"]
    assert words(RunStore(tmp_path / "none")) == [repr(RunStore(tmp_path / "none"))]
