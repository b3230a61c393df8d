"""How far figures/README.md says that its numbers can be trusted: its test rows, and the search for budgets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import torch

from rtinterp.figures import style
from rtinterp.figures.accuracies import floor_columns
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.papers.random_transformers.scales import QUICK
from rtinterp.papers.random_transformers.search import FIRST_SEED, GRID, MODEL
from rtinterp.tasks import ParenthesisBalancing
from rtinterp.training.spec import RunSpec

FOLDER = Path(__file__).parents[2] / "figures"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
TRIALS = pl.read_csv(FOLDER / "random_transformers" / "data" / "search_quick.csv", infer_schema_length=None)
NAMES = {("transformer", "embeddings"): "random", ("transformer", "all"): "fully trained", ("lstm", "all"): "LSTM"}


def shipped() -> Iterator[RunSpec]:
    """The widest models of the quick scale, as the figures have them."""
    for budget in QUICK.algorithmic:
        yield from budget.runs(budget.wide, "embeddings", [0])
        yield from budget.runs(budget.wide, "all", [0])
        yield from budget.runs(RecurrentSpec(budget.wide), "all", [0])


def trials_of(spec: RunSpec) -> pl.DataFrame:
    """All trials of the model, the best first."""
    return TRIALS.filter(
        pl.col("task").str.starts_with(type(spec.task).__name__),
        body=spec.model.label,
        d_model=spec.model.d_model,
        trainable=spec.trainable,
    )


def as_shipped(spec: RunSpec) -> dict[str, Any]:
    """The trial that has the shipped training."""
    own = trials_of(spec).filter(
        learning_rate=spec.training.learning_rate,
        adam_beta2=spec.training.adam_beta2,
        n_steps=spec.training.n_steps,
        batch_size=spec.training.batch_size,
    )
    (row,) = own.rows(named=True)
    return row


def cell(trial: dict[str, Any]) -> str:
    return f"{100 * trial['validation_accuracy']:.1f} ({trial['learning_rate']:g}, {trial['adam_beta2']:g})"


def rows() -> list[str]:
    rows = []
    for spec in shipped():
        if len(trials := trials_of(spec)):
            best, own = trials.row(0, named=True), as_shipped(spec)
            name = f"{style.task_title(best['task'])}, {NAMES[spec.model.label, spec.trainable]}"
            cells = (name, str(best["d_model"]), str(len(trials)), cell(best), cell(own), str(own["rank"]))
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def test_every_model_got_the_same_trials() -> None:
    grid = {(trial["learning_rate"], trial["adam_beta2"]) for trial in GRID}
    searched = {spec.task for spec in shipped() if len(trials_of(spec))}
    for spec in shipped():
        if spec.task in searched:
            tried = trials_of(spec)
            assert set(tried.select("learning_rate", "adam_beta2").iter_rows()) == grid
            assert set(tried["n_trials"]) == {len(tried)} == {len(grid)}
            assert set(tried["seed"]) == {FIRST_SEED}
            assert tried["rank"].to_list() == list(range(1, len(tried) + 1))
    assert TRIALS.select(MODEL).n_unique() == 3 * len(searched)


def test_the_table_of_the_page_is_that_of_the_trials() -> None:
    head = next(n for n, line in enumerate(PAGE.splitlines()) if line.startswith("| model | width | trials |"))
    written = []
    for line in PAGE.splitlines()[head + 2 :]:
        if not line.startswith("|"):
            break
        written.append(line)
    assert written == rows()


def test_how_far_the_shipped_ones_are_from_the_best() -> None:
    searched = [spec for spec in shipped() if len(trials_of(spec))]
    ranks = [as_shipped(spec)["rank"] for spec in searched]
    behind = [
        100 * (trials_of(spec)["validation_accuracy"][0] - as_shipped(spec)["validation_accuracy"]) for spec in searched
    ]
    text = re.sub(r"\s+", " ", PAGE)
    assert (
        f"What ships is the best of the trials for {ranks.count(1)} of these {len(ranks)} models, and at most "
        f"{max(behind):.1f} points behind it for the others"
    ) in text


def test_how_many_strings_are_balanced() -> None:
    def balanced(task: ParenthesisBalancing, of_training: bool) -> str:
        generator = torch.Generator().manual_seed(0)
        batch = task.sample(100_000, generator) if of_training else task.test_set()
        return f"{100 * (batch.scored_targets == task.BALANCED).double().mean():.0f}"

    quick, official = ParenthesisBalancing(max_pairs=10), ParenthesisBalancing()
    floors, guessing = quick.floors(), floor_columns(quick)
    text = re.sub(r"\s+", " ", PAGE)
    assert guessing["floor"] == "length, first and last symbol"
    assert (
        f"{balanced(quick, True)} % of the strings that are drawn in training are balanced, and "
        f"{balanced(quick, False)} % of the test rows (official list: {balanced(official, True)} and "
        f"{balanced(official, False)} %), so that saying no to everything has {100 * floors['majority']:.1f} %. "
        f"What is called guessing is less, {100 * guessing['floor_accuracy']:.1f} %"
    ) in text
