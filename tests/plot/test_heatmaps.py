"""Grids hold the values given, at the labels given, in the order of layers, heads and positions."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl
import pytest
import torch

from rtinterp import plot
from rtinterp.analysis import attention_patterns, recovery_table
from rtinterp.models.build import build_model
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import ModularAddition, ParenthesisBalancing

TASK = ParenthesisBalancing(max_pairs=4)
TOKENS = TASK.sequence("(()())")[:6]
LABELS = [TASK.token_label(token) for token in TOKENS]


def fits_a_cell(figure: go.Figure) -> bool:
    return figure.layout.width <= 700


@pytest.mark.parametrize(("n_layers", "n_heads"), [(2, 4), (3, 2), (1, 8)])
def test_attention_has_a_panel_of_every_head_in_order(n_layers: int, n_heads: int) -> None:
    model = build_model(TASK, ModelSpec(16, n_layers=n_layers, n_heads=n_heads), seed=0)
    figure = plot.attention(model, TOKENS, LABELS)
    patterns = attention_patterns(model, TOKENS)[:, 0].flatten(0, 1)
    assert [[list(row) for row in trace.z] for trace in figure.data] == patterns.tolist()
    names = [f"layer {layer}, head {head}" for layer in range(n_layers) for head in range(n_heads)]
    assert [annotation.text for annotation in figure.layout.annotations] == names
    assert fits_a_cell(figure)


def test_labels_that_repeat_stand_at_their_own_positions() -> None:
    assert len(set(LABELS)) == 2
    figure = plot.attention(build_model(TASK, ModelSpec(16), seed=0), TOKENS[None], LABELS)
    for axis in (figure.layout.xaxis, figure.layout.yaxis, figure.layout.xaxis8, figure.layout.yaxis8):
        assert list(axis.ticktext) == LABELS
        assert list(axis.tickvals) == list(range(6))
    assert all(trace.x is None and trace.y is None for trace in figure.data), "positions, not labels"


def test_what_cannot_be_drawn_as_attention_is_told() -> None:
    model = build_model(TASK, ModelSpec(16), seed=0)
    with pytest.raises(ValueError, match="3 sequences were given"):
        plot.attention(model, TOKENS.expand(3, -1), LABELS)
    with pytest.raises(ValueError, match="2 labels for 6 positions"):
        plot.attention(model, TOKENS, LABELS[:2])
    task = ModularAddition(p=5)
    with pytest.raises(ValueError, match="no attention patterns"):
        plot.attention(build_model(task, RecurrentSpec(8), seed=0), task.test_set().tokens[0], ["a", "b", "c"])


def test_heads_hold_their_scores() -> None:
    scores = torch.tensor([[0.5, 0.25, 0.0], [0.125, 0.75, 1.0]])
    figure = plot.heads(scores)
    (trace,) = figure.data
    assert [list(row) for row in trace.z] == scores.tolist()
    assert list(figure.layout.xaxis.ticktext) == ["head 0", "head 1", "head 2"]
    assert list(figure.layout.yaxis.ticktext) == ["layer 0", "layer 1"]
    assert figure.layout.yaxis.autorange == "reversed", "layer 0 on top"
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 1.0)
    assert fits_a_cell(figure)


def test_several_scores_share_colours_that_are_even_about_zero() -> None:
    figure = plot.heads({"gain": torch.tensor([[0.5, -2.0]]), "loss": torch.tensor([[1.0, 0.0]])})
    assert [[list(row) for row in trace.z] for trace in figure.data] == [[[0.5, -2.0]], [[1.0, 0.0]]]
    assert [annotation.text for annotation in figure.layout.annotations] == ["gain", "loss"]
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-2.0, 2.0)


def test_scores_of_another_shape_are_named() -> None:
    with pytest.raises(ValueError, match=r"scores 'marker' have shape \(2, 3, 4\); pass \[layer head\]"):
        plot.heads({"marker": torch.zeros(2, 3, 4)})
    with pytest.raises(ValueError, match="no scores were given"):
        plot.heads({})


def test_patching_places_every_recovery_at_its_layer_and_position() -> None:
    recovery = torch.tensor([[0.0, 1.0, -0.5], [0.25, 0.75, 0.5]])
    table = recovery_table(recovery, ["a", "b", "a"])
    figure = plot.patching(table.sample(fraction=1.0, shuffle=True, seed=1))
    (trace,) = figure.data
    assert [list(row) for row in trace.z] == recovery.tolist()
    assert list(figure.layout.xaxis.ticktext) == ["a", "b", "a"]
    assert list(figure.layout.yaxis.ticktext) == ["layer 0", "layer 1"]
    assert fits_a_cell(figure)


def test_tables_that_are_not_of_one_experiment_are_refused() -> None:
    table = recovery_table(torch.zeros(2, 3), list("abc"))
    with pytest.raises(ValueError, match="no column label, recovery; make it by recovery_table"):
        plot.patching(table.drop("recovery", "label"))
    with pytest.raises(ValueError, match="several rows have one layer and position"):
        plot.patching(pl.concat([table, table]))
    with pytest.raises(ValueError, match="5 rows for 2 layers and 3 positions"):
        plot.patching(table[:5])


def test_a_recovery_needs_a_label_for_each_position() -> None:
    with pytest.raises(ValueError, match="2 labels for 3 positions"):
        recovery_table(torch.zeros(2, 3), ["a", "b"])
    with pytest.raises(ValueError, match=r"recovery has shape \(3,\)"):
        recovery_table(torch.zeros(3), list("abc"))
