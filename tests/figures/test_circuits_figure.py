"""Circuits of runs: shares add up, and what is told of the whole holds of the subsets."""

from __future__ import annotations

import polars as pl
import pytest
import torch

from rtinterp.analysis import Node
from rtinterp.papers.mechanism import FIGURES, PAPER
from rtinterp.papers.mechanism.figure_circuits import _circuit_columns, compute, plot
from rtinterp.store import RunStore


@pytest.fixture(scope="module")
def table(tiny_store: RunStore) -> pl.DataFrame:
    specs = PAPER.specs(FIGURES["figure_circuits"], "tiny", 2)
    return compute([tiny_store.load(spec.run_id) for spec in specs if spec.task.name != "needle_in_a_haystack"])


def test_shares_add_up_to_what_the_nodes_add(table: pl.DataFrame) -> None:
    of_run = table.group_by("task", "trainable", "seed").agg(
        pl.col("shapley").sum(), pl.col("intact").first(), pl.col("none").first(), pl.len()
    )
    assert len(of_run) == 3 * 2 * 2
    assert (of_run["len"] == 10).all()
    assert ((of_run["shapley"] - (of_run["intact"] - of_run["none"])).abs() < 1e-6).all()


def test_planted_circuits_are_told() -> None:
    """Either of nodes 1 and 2 does it all."""
    nodes = [Node(0, 0), Node(0, 1), Node(0, None)]
    does_it = torch.tensor([bool(subset & 6) for subset in range(8)])
    told = _circuit_columns(0.1 + 0.9 * does_it.double(), nodes, floor=0.1)
    assert (told["n_minimal"], told["smallest"], told["n_disjoint"]) == (2, 1, 2)
    assert told["first_circuit"] == "L0H1"
    assert told["strongest_pair"] == "L0H1, L0 MLP"
    assert told["interaction"] == pytest.approx(-0.9)
    unlearnt = _circuit_columns(torch.full((8,), 0.1, dtype=torch.float64), nodes, floor=0.2)
    assert unlearnt["n_minimal"] is None
    assert unlearnt["first_circuit"] is None


def test_the_drawing_has_a_column_for_every_seed(table: pl.DataFrame) -> None:
    figure = plot(table)
    assert len(figure.data) == 3 * 2
    first = table.filter(pl.col("task") == table["task"][0], pl.col("trainable") == table["trainable"][0])
    assert list(figure.data[0].x) == ["seed 0", "seed 1"]
    assert figure.to_dict()["layout"]["coloraxis"]["colorbar"]["tickformat"] == ".0%"  # the cells are in %, too
    shown = float(figure.data[0].text[3][1]) / 100
    assert abs(shown - figure.data[0].z[3][1]) <= 0.005
    assert figure.data[0].z[3][1] == first.filter(seed=1)["shapley"][3]
