"""Frequencies over training: planted ones are found, and the drawing shows what the table says."""

from __future__ import annotations

import math

import polars as pl
import pytest
import torch

from rtinterp.analysis import correct_logits, distance_irrelevance, gradient_symmetricity
from rtinterp.papers.mechanism import PAPER
from rtinterp.papers.mechanism.figure_fourier import (
    CURVES,
    EARLIEST,
    LEAST_LOSS,
    N_CONTROLS,
    PAIRS,
    _losses_of,
    compute,
    keys_of,
    plot,
)
from rtinterp.papers.random_transformers.scales import SCALES
from rtinterp.store.training import train
from rtinterp.training.run import Run

TINY = "tiny"
P = 23
PLANTED = {3: 9.0, 7: 4.0}
N_SEEDS = 2


def planted(waves: dict[int, float]) -> torch.Tensor:
    a, b, c = torch.meshgrid(*[torch.arange(P)] * 3, indexing="ij")
    noise = 0.05 * torch.randn(P, P, P, generator=torch.Generator().manual_seed(0))
    return noise + sum(height * torch.cos(2 * math.pi * k * (a + b - c) / P) for k, height in waves.items())


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return train(PAPER.experiments["frequencies"](SCALES[TINY], N_SEEDS, None), device="cpu", progress=False)


@pytest.fixture(scope="module")
def table(runs: list[Run]) -> pl.DataFrame:
    return compute(runs)


def test_planted_frequencies_are_key_and_their_loss_is_the_models() -> None:
    logits = planted(PLANTED)
    keys = keys_of(logits)
    assert keys == [3, 7]
    every = torch.ones(P, P, dtype=torch.bool)
    losses = _losses_of(logits, keys, {"test": every})
    means = {
        (row[0], row[1]): row[2] for row in losses.group_by("logits", "frequencies").agg(pl.col("loss").mean()).rows()
    }
    assert means["restricted", "key"] == pytest.approx(means["all", "none"], abs=0.01)
    assert means["excluded", "control"] == pytest.approx(means["all", "none"], abs=0.01)
    for null in (("excluded", "key"), ("restricted", "control")):
        assert means[null] == pytest.approx(math.log(P), abs=0.01)
    assert losses["key_power"][0] > 0.99


def test_noise_has_few_keys_that_leave_as_many_controls() -> None:
    assert len(keys_of(planted({}))) <= P // 2 // 2
    assert len(keys_of(planted(dict.fromkeys(range(1, P // 2 + 1), 1.0)))) == P // 2 // 2


def of_run(table: pl.DataFrame, run: Run) -> pl.DataFrame:
    spec = run.spec
    return table.filter(trainable=spec.trainable, seed=spec.seed, d_model=spec.model.d_model)


def test_every_kept_step_of_every_run_has_every_curve(runs: list[Run], table: pl.DataFrame) -> None:
    n_curves = 3 + 2 * N_CONTROLS
    for run in runs:
        rows = of_run(table, run)
        steps = [step for step in run.kept_steps if step == 0 or step >= EARLIEST * run.last_step] or [run.last_step]
        assert rows["step"].unique().sort().to_list() == steps
        assert len(rows) == len(steps) * len(PAIRS) * n_curves
        assert rows["key_frequencies"].n_unique() == 1
    assert table["sum_power"].is_between(0, 1 + 1e-9).all()
    assert (table["key_power"] <= table["sum_power"] + 1e-9).all()


def test_clock_and_pizza_measures_are_those_of_the_model(runs: list[Run], table: pl.DataFrame) -> None:
    run = runs[0]
    last = of_run(table, run).filter(step=run.last_step)
    irrelevance = distance_irrelevance(correct_logits(run.model, run.spec.task))
    assert last["distance_irrelevance"].unique().item() == pytest.approx(irrelevance, abs=1e-5)
    symmetricity = gradient_symmetricity(run.model, run.spec.task, torch.Generator().manual_seed(5), 2000)
    assert last["gradient_symmetricity"].unique().item() == pytest.approx(symmetricity, abs=0.15)


def test_the_loss_on_test_pairs_is_that_of_the_history(runs: list[Run], table: pl.DataFrame) -> None:
    for run in runs:
        row = of_run(table, run).filter(
            pl.col("pairs") == "test", pl.col("logits") == "all", pl.col("step") == run.last_step
        )
        assert row["loss"].item() == pytest.approx(run.test_loss, rel=1e-4)


def test_the_drawing_has_the_medians_over_seeds(table: pl.DataFrame) -> None:
    figure = plot(table)
    assert [trace.name for trace in figure.data if trace.showlegend] == [name for name, *_ in CURVES.values()]
    of_ends = len(CURVES) * len(PAIRS)
    assert len(figure.data) == 2 * len(PAIRS) * len(CURVES) * (N_SEEDS + 1) + of_ends
    assert all(list(trace.x) == ["seed 0", "seed 1"] for trace in figure.data[-of_ends:])
    widest = table.filter(
        pl.col("d_model") == pl.col("d_model").max(), trainable="embeddings", pairs="test", logits="restricted"
    )
    chosen = widest.filter(pl.col("step") == pl.col("step").max(), frequencies="control")
    expected = chosen.group_by("seed").agg(pl.col("loss").mean())["loss"].median()
    first = [
        t for t in figure.data[: len(CURVES) * (N_SEEDS + 1)] if t.name == "as many others only" and t.line.width == 2
    ]
    assert first[0].y[-1] == pytest.approx(expected)
    assert 0 not in first[0].x


@pytest.mark.parametrize(("factor", "told"), [(1e-6, "≤ 0.001"), (1.0, "0.001")])
def test_losses_that_are_cut_lie_at_a_tick_that_says_so(table: pl.DataFrame, factor: float, told: str) -> None:
    figure = plot(table.with_columns(pl.max_horizontal(pl.col("loss"), 0.1) * factor))
    lowest = figure.to_dict()["layout"]["yaxis"]
    assert (lowest["tickvals"][0], lowest["ticktext"][0]) == (LEAST_LOSS, told)
    assert lowest["range"][0] < math.log10(LEAST_LOSS)
    least = min(min(trace.y) for trace in figure.data)
    assert (least == LEAST_LOSS) == (factor < 1)


def test_the_caption_says_that_losses_are_cut() -> None:
    assert f"≤ {LEAST_LOSS:g}; the csv has them" in PAPER.figures["figure_fourier"].caption
