"""A planted circle is drawn as one, and shares of variance at their sites."""

from __future__ import annotations

import math

import polars as pl
import pytest
import torch

from rtinterp import plot
from rtinterp.analysis import residual_explained_variance
from rtinterp.models.build import build_model
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import ModularAddition


def planted(frequency: int, p: int = 31, d_model: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    phase = 2 * math.pi * frequency * torch.arange(p) / p
    plane = torch.linalg.qr(torch.randn(d_model, 2, generator=generator)).Q
    return torch.stack([phase.cos(), phase.sin()], dim=1) @ plane.T + 0.01 * torch.randn(
        p, d_model, generator=generator
    )


def test_a_planted_circle_is_drawn_in_the_order_of_its_frequency() -> None:
    figure = plot.circles(planted(5), n_circles=1)
    line, points = figure.data
    assert list(map(int, points.text)) == [n * pow(5, -1, 31) % 31 for n in range(31)]
    radii = [math.hypot(x, y) for x, y in zip(points.x, points.y, strict=True)]
    assert radii == pytest.approx([1] * 31, abs=0.05)
    assert list(points.marker.color) == pytest.approx([n / 31 for n in range(31)])
    assert (line.x[0], line.y[0]) == (line.x[-1], line.y[-1]), "closed"
    (title,) = (annotation.text for annotation in figure.layout.annotations)
    assert title.startswith("frequency 5 · R² 1.00<br>")
    assert figure.layout.xaxis.title.text == "component 0"
    assert figure.layout.yaxis.title.text == "component 1"
    assert figure.layout.width <= 700


def test_circles_share_no_component() -> None:
    figure = plot.circles(planted(5))
    axes = [figure.layout[f"{side}axis{number}"].title.text.split()[1] for side in "xy" for number in ("", 2, 3)]
    assert len(set(axes)) == 6


def test_no_circle_is_refused() -> None:
    with pytest.raises(ValueError, match="n_circles is 0"):
        plot.circles(planted(5), n_circles=0)
    with pytest.raises(ValueError, match="at least 3 residues and 2 components"):
        plot.circles(torch.randn(31, 1, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("body", [ModelSpec(16), RecurrentSpec(16)], ids=["transformer", "lstm"])
def test_shares_of_any_body_stand_at_its_sites(body: ModelSpec | RecurrentSpec) -> None:
    task = ModularAddition(p=13)
    tokens = task.test_set().tokens
    batches = [(tokens, torch.ones_like(tokens, dtype=torch.bool))]
    table = residual_explained_variance(build_model(task, body, seed=0), batches, k=3)
    figure = plot.explained_variance(table)
    for trace, column in zip(figure.data, ("share_principal_components", "share_coordinates"), strict=True):
        assert list(trace.x) == ["embedding", "after layer 0", "after layer 1"]
        assert list(trace.y) == table[column].to_list()
    assert [trace.name for trace in figure.data] == ["principal components", "coordinates"]
    assert figure.layout.yaxis.title.text == "variance in 3 directions"
    assert figure.layout.width <= 700


def rows(**columns: object) -> pl.DataFrame:
    share = columns.pop("share", 0.5)
    sites = {"site": ["embedding", "after layer 0"], "layer": [None, 0]}
    table = pl.DataFrame({**sites, "n_activations": [9, 9], "k": [2, 2]})
    shares = {"share_principal_components": share, "share_coordinates": share / 2}
    return table.with_columns(pl.lit(value).alias(name) for name, value in {**shares, **columns}.items())


def test_models_are_told_apart_by_the_other_columns() -> None:
    table = pl.concat([rows(model="before", seed=0, share=0.25), rows(model="after", seed=0, share=0.75)])
    figure = plot.explained_variance(table)
    assert {trace.name: trace.y[0] for trace in figure.data} == {
        "before, 0: principal components": 0.25,
        "before, 0: coordinates": 0.125,
        "after, 0: principal components": 0.75,
        "after, 0: coordinates": 0.375,
    }
    first, _, other, _ = (trace.line.color for trace in figure.data)
    assert first != other


def test_tables_that_nothing_tells_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="several rows of one model"):
        plot.explained_variance(pl.concat([rows(), rows()]))
    with pytest.raises(ValueError, match=r"shares are of \[2, 3\] directions"):
        plot.explained_variance(pl.concat([rows(model="a"), rows(model="b").with_columns(pl.col("k") + 1)]))
    with pytest.raises(ValueError, match="no column share_coordinates"):
        plot.explained_variance(rows().drop("share_coordinates"))
