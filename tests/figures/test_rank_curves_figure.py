"""How few directions suffice: what must hold whatever the models have learnt, and what the drawing shows."""

from __future__ import annotations

import polars as pl
import pytest

from rtinterp.papers.mechanism import FIGURES, PAPER
from rtinterp.papers.mechanism.figure_rank_curves import BASES, EFFECTS, N_RANDOM_SUBSPACES, compute, plot
from rtinterp.store import RunStore

TINY = "tiny"


@pytest.fixture(scope="module")
def table(tiny_store: RunStore) -> pl.DataFrame:
    specs = PAPER.specs(FIGURES["figure_rank_curves"], TINY, 1)
    chosen = [spec for spec in specs if spec.task.name in ("needle_in_a_haystack", "modular_addition")]
    assert len(chosen) == 4
    return compute([tiny_store.load(spec.run_id) for spec in chosen])


def test_every_run_has_every_curve(table: pl.DataFrame) -> None:
    per_run = table.group_by("task", "trainable", "seed").len()["len"]
    n_curves = len(BASES) - 1 + N_RANDOM_SUBSPACES
    n_ranks = table["rank"].n_unique()
    assert per_run.to_list() == [3 * n_curves * len(EFFECTS) * n_ranks] * 4


def test_all_directions_are_the_intact_model_and_none_are_the_mean(table: pl.DataFrame) -> None:
    d_model = table["d_model"][0]
    whole = table.filter((pl.col("effect") == "keep") & (pl.col("rank") == d_model))
    untouched = table.filter((pl.col("effect") == "remove") & (pl.col("rank") == 0))
    for rows in (whole, untouched):
        # Rounding may turn a few near ties of models that have hardly learnt anything.
        assert ((rows["accuracy"] - rows["intact"]).abs() <= 0.02).all()
    of_none = table.filter((pl.col("effect") == "keep") & (pl.col("rank") == 0))
    of_all = table.filter((pl.col("effect") == "remove") & (pl.col("rank") == d_model))
    keys = ["task", "trainable", "site", "basis", "draw"]
    both = of_none.join(of_all, on=keys, suffix="_removed")
    assert len(both) == len(of_none)
    assert ((both["accuracy"] - both["accuracy_removed"]).abs() <= 0.02).all()


def test_principal_directions_have_most_of_the_variance_at_every_rank(table: pl.DataFrame) -> None:
    keys = ["task", "trainable", "site", "rank"]
    largest = table.filter(pl.col("basis") == "principal").group_by(keys).agg(pl.col("variance").max())
    others = table.filter(pl.col("basis") != "principal").join(largest, on=keys, suffix="_principal")
    assert (others["variance"] <= others["variance_principal"] + 1e-6).all()
    d_model = table["d_model"][0]
    random = table.filter((pl.col("basis") == "random") & (pl.col("rank") == 8))
    assert random["variance"].mean() == pytest.approx(8 / d_model, rel=0.25)


def test_the_drawing_has_a_panel_for_every_model_and_site_and_the_medians(table: pl.DataFrame) -> None:
    figure = plot(table)
    assert len([trace for trace in figure.data if trace.showlegend]) == len(BASES)
    assert len(figure.data) == 4 * 3 * len(BASES) * len(EFFECTS)
    first = table.filter(
        (pl.col("task") == table["task"][0]) & (pl.col("trainable") == table["trainable"][0])
        & (pl.col("site") == table["site"][0]) & (pl.col("basis") == "random") & (pl.col("effect") == "remove")
        & (pl.col("rank") == 8)
    )  # fmt: skip
    (trace,) = [trace for trace in figure.data[: len(BASES) * 2] if trace.name == "random" and trace.line.dash == "dot"]
    assert trace.y[list(trace.x).index(8)] == pytest.approx(first["accuracy"].median())
