"""Figure 6: divergences of the right students from the right targets."""

from __future__ import annotations

import itertools
import statistics

import polars as pl
import pytest
import torch

from rtinterp.analysis import TargetStatistics, target_statistics
from rtinterp.models.transformer.hooked import hooked_transformer
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.papers.random_transformers import FIGURES, figure6_imitation
from rtinterp.tasks import CircuitImitation
from rtinterp.training.run import Run

FIGURE = FIGURES["figure6_imitation"]


def target_of(task: CircuitImitation):
    """A three-layer, two-head transformer at the amplified initial values."""
    spec = ModelSpec(task.target_d_model, n_layers=3, n_heads=2, init="imitation_target")
    return hooked_transformer(task, spec, spec.initial_tensors(task.d_vocab, task.n_ctx, task.target_seed))


@pytest.fixture
def runs(runs_of) -> list[Run]:
    return runs_of("figure6_imitation")


def test_there_is_a_run_of_every_target_student_and_seed(runs: list[Run]) -> None:
    table = FIGURE.compute(runs)
    found = sorted(table.select("target_d_model", "trainable", "seed").iter_rows())
    assert found == list(itertools.product((4, 8), ("all", "embeddings"), (0, 1)))
    assert set(table["d_model"]) == {16}


@torch.no_grad()
def test_divergences_are_those_of_student_and_target_side_by_side(runs: list[Run]) -> None:
    for row, run in zip(FIGURE.compute(runs).iter_rows(named=True), runs, strict=True):
        read = run.spec.task.test_set().tokens[:, :-1]
        target, student = (
            torch.distributions.Categorical(logits=model(read)[:, -1].double())
            for model in (target_of(run.spec.task), run.model)
        )
        divergence = torch.distributions.kl_divergence(target, student).mean()
        assert row["test_kl"] == pytest.approx(float(divergence), rel=1e-3)
        agreement = (target.probs.argmax(-1) == student.probs.argmax(-1)).double().mean()
        assert row["agreement"] == pytest.approx(float(agreement), abs=1e-3)


def test_what_is_said_of_a_target_is_measured_on_that_target(runs: list[Run]) -> None:
    table = FIGURE.compute(runs)
    for task in dict.fromkeys(run.spec.task for run in runs):
        rows = table.filter(pl.col("target_d_model") == task.target_d_model)
        read = task.test_set().tokens[: figure6_imitation.N_INPUTS, :-1]
        expected = target_statistics(target_of(task), read)
        columns = rows.select(f"target_{name}" for name in TargetStatistics._fields).unique()
        assert columns.row(0) == pytest.approx(tuple(expected), rel=1e-6)
        assert len(columns) == 1
    assert table["target_entropy"].n_unique() == 2


def test_both_panels_show_every_seed_and_join_the_medians(runs: list[Run]) -> None:
    table = FIGURE.compute(runs)
    figure = FIGURE.plot(table)
    for axis in ("x", "x2"):
        points = [t for t in figure.data if t.xaxis == axis and t.mode == "markers"]
        found = sorted((x, y) for trace in points for x, y in zip(trace.x, trace.y, strict=True))
        assert found == sorted((run.spec.task.target_d_model, run.test_loss) for run in runs)
        for trace in (t for t in figure.data if t.xaxis == axis and t.mode == "lines"):
            trainable = {"random transformer": "embeddings", "fully trained": "all"}[trace.name]
            for width, height in zip(trace.x, trace.y, strict=True):
                of_width = [
                    run.test_loss
                    for run in runs
                    if (run.spec.task.target_d_model, run.spec.trainable) == (width, trainable)
                ]
                assert height == pytest.approx(statistics.median(of_width))
    assert (figure.layout.yaxis.type, figure.layout.yaxis2.type) == (None, "log")


def test_targets_of_a_width_are_told_apart_and_joined_by_their_median(runs: list[Run]) -> None:
    first = FIGURE.compute(runs)
    divergence = pl.col("target_kl_between_inputs")
    second = first.with_columns(divergence + 1, target_seed=pl.lit(1, pl.Int64))
    table = pl.concat([first, second])
    of_narrow = first.filter(pl.col("target_d_model") == 4)["target_kl_between_inputs"][0]
    figure = FIGURE.plot(table)
    (line,) = (trace for trace in figure.data if trace.name == "KL between a target's outputs on two inputs")
    assert line.y[0] == pytest.approx(of_narrow + 0.5)
    least, most = table.select(least=divergence.min(), most=divergence.max()).row(0)
    told = f"4 targets of 2 widths; mean KL between a target's outputs on two inputs: {least:.2f} to {most:.2f} nats"
    assert f"{told} (paper: 0.8 to 3.3)" in figure.layout.title.text
    assert "2 targets of 2 widths" in FIGURE.plot(first.drop("target_seed")).layout.title.text, "an earlier drawing"


def test_one_line_of_budget_stands_for_all_targets(runs: list[Run]) -> None:
    title = FIGURE.plot(FIGURE.compute(runs)).layout.title.text
    assert title.count("Circuit imitation") == 1
    assert "target_n_heads = 2" in title
    assert "n_tokens = 5" in title
    assert "target_d_model" not in title
