"""Transplants: a body with its own embeddings is the model, and a planted rotation is undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import torch

from rtinterp.analysis import accuracy, orthogonal_stitch, random_subspace, with_tensors
from rtinterp.papers.mechanism import PAPER
from rtinterp.papers.mechanism.figure_transplants import (
    INPUTS,
    SOURCES,
    TREATMENTS,
    _accuracies,
    _mapped,
    compute,
    plot,
)
from rtinterp.papers.random_transformers.scales import SCALES
from rtinterp.store.training import train
from rtinterp.tasks import ModularAddition

if TYPE_CHECKING:
    from rtinterp.training.run import Run

TINY, N_SEEDS = "tiny", 2


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    specs = PAPER.experiments["bodies"](SCALES[TINY], N_SEEDS, None)
    chosen = [spec for spec in specs if isinstance(spec.task, ModularAddition)]
    return train(chosen, device="cpu", progress=False)


@pytest.fixture(scope="module")
def table(runs: list[Run]) -> pl.DataFrame:
    return compute(runs)


def test_every_body_gets_the_embeddings_of_the_next_one(table: pl.DataFrame) -> None:
    assert len(table) == N_SEEDS * len(SOURCES) * len(TREATMENTS)
    another = table.filter(pl.col("embeddings") == "another").select("seed", "donor").unique().sort("seed")
    assert another.rows() == [(0, 1), (1, 0)]
    assert set(table.filter(pl.col("embeddings") == "own").select(pl.col("seed") == pl.col("donor")).to_series()) == {
        True
    }


def test_a_single_body_has_no_donor(runs: list[Run]) -> None:
    assert set(compute(runs[:1])["embeddings"]) == {"own", "untrained"}


def test_own_embeddings_as_they_are_or_rotated_by_nothing_are_the_model(table: pl.DataFrame) -> None:
    own = table.filter((pl.col("embeddings") == "own") & pl.col("treatment").is_in(["raw", "rotated"]))
    assert ((own["accuracy"] - own["intact"]).abs() < 0.01).all()


def test_a_planted_rotation_is_undone(runs: list[Run]) -> None:
    run = next(iter(runs))
    model, task = run.model, run.spec.task
    d_model = model.cfg.d_model
    turn = random_subspace(d_model, torch.zeros(d_model), torch.Generator().manual_seed(0)).directions
    own = model.state_dict()
    turned = with_tensors(model, {name: own[name] @ turn for name in INPUTS})
    test, stream = task.test_set(), task.sample(200, torch.Generator().manual_seed(1))
    values = dict(_accuracies(model, turned, stream, test))
    # A rotation loses nothing, whatever the model has learnt.
    assert values["rotated"] == pytest.approx(accuracy(model, test), abs=0.01)
    before, after = (torch.cat([one.state_dict()[name] for name in INPUTS]) for one in (turned, model))
    torch.testing.assert_close(orthogonal_stitch(before, after)(before), after, atol=1e-4, rtol=1e-3)


def test_an_affine_map_reaches_rows_that_it_has_not_seen_only_where_there_is_one() -> None:
    generator = torch.Generator().manual_seed(0)
    read, linear, noise = (torch.randn(n, 6, generator=generator) for n in (40, 6, 40))
    torch.testing.assert_close(_mapped(read, read @ linear + 3), read @ linear + 3, atol=1e-4, rtol=1e-4)
    assert (_mapped(read, noise) - noise).square().mean() > noise.square().mean()


def test_every_task_is_drawn_with_its_dots(table: pl.DataFrame) -> None:
    figure: Any = plot(table)
    drawn = list(figure.data)
    assert [trace.name for trace in drawn] == list(SOURCES.values())
    assert sorted(y for trace in drawn for y in trace.y) == sorted(table["accuracy"].to_list())
