"""Parentheses by length: strings that are counted one by one."""

from __future__ import annotations

import polars as pl
import pytest
import torch

from rtinterp.analysis import prediction_table
from rtinterp.papers.random_transformers import FIGURES, figure_parentheses_lengths
from rtinterp.tasks import ParenthesisBalancing

FIGURE = FIGURES["figure_parentheses_lengths"]


def is_balanced(string: str) -> bool:
    while "()" in string:
        string = string.replace("()", "")
    return not string


def strings_of(task: ParenthesisBalancing, tokens: torch.Tensor) -> list[str]:
    return ["".join({1: "(", 2: ")"}.get(t, "") for t in row[: row.index(task.QUERY)]) for row in tokens.tolist()]


def test_rows_are_counted_by_length_and_balance(runs_of) -> None:
    run = runs_of("figure_parentheses_lengths")[0]
    test_set = run.spec.task.test_set()
    strings = strings_of(run.spec.task, test_set.tokens)
    right = prediction_table(run.model, test_set)["right"].to_list()
    table = FIGURE.compute([run])
    for length in sorted(set(map(len, strings))):
        for kind in ("all", "balanced", "unbalanced"):
            chosen = [
                (string, is_right)
                for string, is_right in zip(strings, right, strict=True)
                if len(string) == length and kind in ("all", "balanced" if is_balanced(string) else "unbalanced")
            ]
            rows = table.filter(pl.col("length") == length, pl.col("strings") == kind)
            assert len(rows) == bool(chosen)
            if chosen:
                assert rows["n_rows"].item() == len(chosen)
                assert rows["n_distinct"].item() == len({string for string, _ in chosen})
                assert rows["accuracy"].item() == pytest.approx(sum(r for _, r in chosen) / len(chosen))


def test_short_balanced_strings_are_not_in_the_official_training_stream() -> None:
    """All of up to 6 symbols are tested; of the others of 5 and 6 symbols, some are trained on."""
    task = ParenthesisBalancing()
    trained = figure_parentheses_lengths._kinds_in_training(task)
    short = trained.filter(pl.col("length") <= 6, pl.col("strings") != "all")
    assert set(short["strings"]) == {"unbalanced"}
    assert {5, 6} <= set(short["length"])
    assert {8, 10, 60} <= set(trained.filter(pl.col("strings") == "balanced")["length"])
    every_length = trained.filter(pl.col("strings") == "all")
    assert every_length["n_trained"].sum() == figure_parentheses_lengths.N_TRAINING_ROWS


def test_the_plot_says_which_strings_are_never_trained_on(runs_of) -> None:
    runs = runs_of("figure_parentheses_lengths")
    table, n_rows = FIGURE.compute(runs), len(runs[0].spec.task.test_set())
    assert f"balanced strings of all tested lengths are trained on ({n_rows:,} test rows)" in title_of(table)
    length = table.filter(pl.col("strings") == "balanced")["length"].min()
    unseen = (pl.col("length") == length) & (pl.col("strings") == "balanced")
    planted = table.with_columns(n_trained=pl.when(unseen).then(0).otherwise("n_trained"))
    n_unseen = planted.filter(unseen)["n_rows"][0]
    assert (
        f"balanced strings of length {length} are never trained on: {n_unseen:,} of {n_rows:,} test rows"
        in title_of(planted)
    )
    assert [shape.x0 for shape in FIGURE.plot(planted).layout.shapes] == [length - 0.5]


def title_of(table: pl.DataFrame) -> str:
    return FIGURE.plot(table).layout.title.text


def test_every_model_has_a_line_of_even_lengths(runs_of) -> None:
    table = FIGURE.compute(runs_of("figure_parentheses_lengths"))
    lacks = (pl.col("trainable") == "all") & (pl.col("d_model") == 24) & (pl.col("seed") == table["seed"].max())
    figure = FIGURE.plot(table.filter(~lacks))
    names = [trace.name for trace in figure.data if trace.showlegend]
    assert names == [
        "random, width 24 (2 seeds)", "normal, width 24 (1 seed)", "random, width 16 (2 seeds)",
        "normal, width 16 (2 seeds)", "normal LSTM, width 24 (1 seed)",
    ]  # fmt: skip
    other = table.filter(~lacks).with_columns(task=pl.lit("ParenthesisBalancing(max_pairs=3)"), seed=0)
    names = [trace.name for trace in FIGURE.plot(pl.concat([table.filter(~lacks), other])).data if trace.showlegend]
    assert names[0] == "random, width 24 (2 and 1 seeds)"
    assert {round(x) % 2 for trace in figure.data for x in trace.x} == {0}
