"""Warm starts: which tensors each start has, that a body's own rotation is undone, and what is drawn."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import torch

from rtinterp.analysis import random_subspace
from rtinterp.papers.mechanism import PAPER
from rtinterp.papers.mechanism.figure_warm_starts import LEVEL, STARTS, compute, plot, starts, steps_needed
from rtinterp.papers.random_transformers.scales import SCALES
from rtinterp.store.training import train

if TYPE_CHECKING:
    from rtinterp.training.run import Run

TINY, N_SEEDS = "tiny", 2
W_E, W_pos, W_U = "embed.W_E", "pos_embed.W_pos", "unembed.W_U"


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return train(PAPER.experiments["warm_starts"](SCALES[TINY], N_SEEDS, None), device="cpu", progress=False)


def test_a_donor_that_is_the_body_itself_but_for_a_rotation_is_brought_back(runs: list[Run]) -> None:
    run = runs[0]
    zero = torch.zeros(run.spec.model.d_model)
    rotation = random_subspace(len(zero), zero, torch.Generator().manual_seed(1)).directions
    turned = {name: rotation @ tensor if name == W_U else tensor @ rotation.T for name, tensor in run.trained.items()}
    found = starts(run, dataclasses.replace(run, trained=turned), torch.Generator().manual_seed(0))
    assert list(found) == list(STARTS)
    assert not found["drawn"]
    assert all(torch.equal(found["another"][name], turned[name]) for name in turned)
    for name, tensor in run.trained.items():
        torch.testing.assert_close(found["rotated"][name], tensor, atol=1e-4, rtol=1e-3)
    shuffled = found["shuffled"]
    torch.testing.assert_close(shuffled[W_pos], run.trained[W_pos], atol=1e-4, rtol=1e-3)
    order = torch.cdist(shuffled[W_E], found["rotated"][W_E]).argmin(1)
    assert sorted(order.tolist()) == list(range(len(order)))
    assert order.tolist() != list(range(len(order)))
    torch.testing.assert_close(shuffled[W_U], found["rotated"][W_U][:, order])
    of_drawn = found["drawn, rotated"][W_E]
    torch.testing.assert_close(torch.pdist(of_drawn), torch.pdist(run.initial_model.W_E), atol=1e-4, rtol=1e-3)


def test_a_table_has_every_start_of_every_body_and_a_single_body_has_none_but_its_own(runs: list[Run]) -> None:
    table = compute(runs)
    assert table.select("seed", "start").unique().height == N_SEEDS * len(STARTS)
    donors = table.select("seed", "start", "donor").unique()
    assert set(donors.filter(pl.col("start").str.starts_with("drawn"))["donor"]) == {None}
    assert set(donors.filter(start="another").select("seed", "donor").rows()) == {(0, 1), (1, 0)}
    assert (table.group_by("seed", "start").agg(pl.col("step").min())["step"] == 0).all()
    assert set(compute(runs[:1])["start"]) == {"drawn"}
    figure: Any = plot(table)
    assert len(figure.data) == N_SEEDS * len(STARTS)


def test_steps_are_those_of_the_planted_curves() -> None:
    curves = {("rotated", 0): [0.5, LEVEL], ("rotated", 1): [0.99], ("drawn", 0): [0.1, 0.2]}
    rows = [
        {"start": start, "seed": seed, "step": 10 * index, "accuracy": value}
        for (start, seed), values in curves.items()
        for index, value in enumerate(values)
    ]
    found = steps_needed(pl.DataFrame(rows)).select("start", "seed", "step").rows()
    assert set(found) == {("rotated", 0, 10), ("rotated", 1, 0), ("drawn", 0, None)}
