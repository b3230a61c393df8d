"""Interchange by variable and site: what must hold whatever the models have learnt, and what the drawing shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import torch

from rtinterp.analysis import accuracy
from rtinterp.papers.mechanism import FIGURES, PAPER, interchange_measurements
from rtinterp.papers.mechanism.figure_interchange import BASES, compute, plot
from rtinterp.papers.mechanism.interchange_measurements import (
    AFTER_LAST,
    ANSWER,
    CONTROL_RANK,
    N_LEARNED_FROM,
    N_RANDOM_SUBSPACES,
    N_TEST_PAIRS,
    PAIRS_SEED,
    RANKS,
    SEARCH,
)
from rtinterp.papers.random_transformers.scales import SCALES
from rtinterp.store.training import train
from rtinterp.tasks import Batch, NeedleInAHaystack

if TYPE_CHECKING:
    from rtinterp.training.run import Run

TINY = "tiny"


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    specs = PAPER.experiments["subspaces"](SCALES[TINY], 1, None)
    chosen = [spec for spec in specs if isinstance(spec.task, NeedleInAHaystack)]
    return train(chosen, device="cpu", progress=False)


@pytest.fixture(scope="module")
def table(runs: list[Run]) -> pl.DataFrame:
    """Searched everywhere: models of this size hold no variable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interchange_measurements, "WORTH_SEARCHING", 0.0)
        return compute(runs)


def test_the_whole_site_at_the_end_says_what_the_source_says(runs: list[Run], table: pl.DataFrame) -> None:
    for run in runs:
        generator, task = torch.Generator().manual_seed(PAIRS_SEED), run.spec.task
        assert isinstance(task, NeedleInAHaystack)
        task.counterfactuals(N_LEARNED_FROM, "asked marker", generator)
        pairs = task.counterfactuals(N_TEST_PAIRS, "asked marker", generator)
        of_sources = accuracy(run.model, Batch(pairs.sources, pairs.base.scored, pairs.base.targets))
        row = table.filter(
            pl.col("trainable") == run.spec.trainable, pl.col("variable") == "asked marker",
            pl.col("site") == AFTER_LAST, pl.col("basis") == "whole",
        )  # fmt: skip
        assert row["accuracy"].to_list() == [pytest.approx(of_sources, abs=0.01)]
        assert row["intact"].to_list() == [pytest.approx(accuracy(run.model, pairs.base), abs=0.01)]


def test_every_basis_has_its_ranks_and_only_random_transformers_an_untrained_twin(table: pl.DataFrame) -> None:
    at_end = table.filter(pl.col("site") == AFTER_LAST, pl.col("variable") == "queried value")
    ranks = [rank for rank in RANKS if rank <= table["d_model"][0]]
    control = min(CONTROL_RANK, table["d_model"][0])
    for (trainable,), rows in at_end.group_by("trainable"):
        found = {name: sorted(of["rank"].to_list()) for (name,), of in rows.group_by("basis")}
        assert found["learned"] == found["principal"] == found["sensitive"] == ranks
        assert found["random"] == sorted(ranks * N_RANDOM_SUBSPACES)
        assert found["placebo"] == [control]
        assert found.get("untrained", []) == ([control] if trainable == "embeddings" else [])
        assert control <= found["seen"][0] + found["unseen"][0] <= 2 * control


def test_nothing_is_searched_where_the_whole_site_does_not_hold_the_variable(runs: list[Run]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interchange_measurements, "WORTH_SEARCHING", 1.01)
        assert set(compute(runs[:1])["basis"]) == {"whole"}


def test_the_drawing_has_a_panel_for_every_variable_and_site_and_the_medians(table: pl.DataFrame) -> None:
    figure: Any = plot(table)
    n_panels = 2 * table["trainable"].n_unique() * table["variable"].n_unique()
    assert len(figure.data) == n_panels * (len(BASES) + 2)
    first = table.filter(
        pl.col("variable") == table["variable"][0], pl.col("trainable") == table["trainable"][0],
        pl.col("place") == ANSWER, pl.col("site") != AFTER_LAST, pl.col("basis") == "random",
        pl.col("rank") == RANKS[0],
    )  # fmt: skip
    (trace,) = [trace for trace in figure.data[: len(BASES)] if trace.name == BASES["random"]]
    assert trace.y[0] == pytest.approx(first["accuracy"].median())


def test_panels_say_what_is_on_their_axes_and_where_nothing_was_searched(table: pl.DataFrame) -> None:
    first_site = (pl.col("variable") == table["variable"][0]) & (pl.col("site") != AFTER_LAST)
    random, trained = (pl.col("trainable") == name for name in ("embeddings", "all"))
    seeds = pl.concat([table, table.with_columns(seed=pl.col("seed") + 1)])
    only_whole = pl.col("basis") == "whole"
    # Of one model nothing is searched in either seed, of the other in the second alone.
    left = seeds.filter(only_whole | ~first_site | (trained & (pl.col("seed") == seeds["seed"].max())))
    for rows, told in (
        (table, []),
        (left.filter(random), ["not searched"]),
        (left.filter(trained), ["searched in 1 of 2 seeds"]),
    ):
        figure: Any = plot(rows)
        assert [note.text for note in figure.layout.annotations if "searched" in note.text] == told
        axes = [figure.layout[name] for name in figure.to_dict()["layout"] if name.startswith("xaxis")]
        assert {axis.title.text for axis in axes} == {"directions"}
        assert len({tuple(axis.range) for axis in axes}) == 1
        assert figure.layout.yaxis.title.text == "interchange accuracy"


def test_the_caption_says_how_short_the_searches_were() -> None:
    caption = FIGURES["figure_interchange"].caption
    assert f"All these searches had {SEARCH['n_steps']} steps of {SEARCH['pairs_per_step']} pairs" in caption
    assert "their controls reach are lower bounds, both" in caption
