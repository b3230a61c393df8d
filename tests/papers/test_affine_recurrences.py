"""Figures of affine recurrences: what is measured of a short training, and of models whose answer is known."""

from __future__ import annotations

import dataclasses
from typing import Any

import polars as pl
import pytest
import torch

from rtinterp import train
from rtinterp.analysis import next_term_estimates, squared_errors
from rtinterp.papers.affine_recurrences import FIGURES, PAPER
from rtinterp.papers.affine_recurrences.opened_models import FIRST_POSITION, N_ROWS
from rtinterp.papers.affine_recurrences.scales import SCALES
from rtinterp.papers.affine_recurrences.table_readings import READINGS, measure
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec

TINY = dataclasses.replace(
    SCALES["quick"],
    width=16,
    widths=(16,),
    training=dataclasses.replace(SCALES["quick"].training, n_steps=40, batch_size=64, n_warmup_steps=5),
    longer=50,
    briefer=30,
)


@pytest.fixture(scope="module")
def runs() -> dict[RunSpec, Run]:
    specs = [spec for experiment in PAPER.experiments.values() for spec in experiment(TINY, 2, None)]
    specs = list(dict.fromkeys(specs))
    return dict(zip(specs, train(specs, progress=False), strict=True))


@pytest.fixture(scope="module")
def tables(runs: dict[RunSpec, Run]) -> dict[str, pl.DataFrame]:
    def of(name: str) -> pl.DataFrame:
        specs = PAPER.experiments[FIGURES[name].experiment or ""](TINY, 2, None)
        return FIGURES[name].compute([runs[spec] for spec in specs])

    return {name: of(name) for name in FIGURES}


def test_every_figure_is_drawn_of_every_seed(tables: dict[str, pl.DataFrame]) -> None:
    for name, table in tables.items():
        assert set(table["seed"]) == {0, 1}, name
        assert FIGURES[name].plot(table).to_dict()["data"], name


def test_errors_are_those_of_the_run_and_of_estimates(
    tables: dict[str, pl.DataFrame], runs: dict[RunSpec, Run]
) -> None:
    table = tables["figure_next_term_errors"]
    run = next(run for spec, run in runs.items() if (spec.seed, spec.trainable, spec.model.d_model) == (1, "all", 16))
    batch = run.spec.task.test_set()[:N_ROWS]
    assert batch.targets is not None
    expected = (run.model(batch.tokens) - batch.targets)[:, 5].square().mean().item()
    growing = table.filter(pl.col("law") == "growing")
    table = table.filter(pl.col("law") == "as trained")
    row = table.filter(pl.col("seed") == 1, pl.col("estimator") == "trained", pl.col("position") == 5)
    assert row["mse"].to_list() == [pytest.approx(expected, rel=1e-5)]
    copying = table.filter(pl.col("seed") == 0, pl.col("estimator") == "copy")["mse"]
    assert copying.to_list() == pytest.approx(squared_errors(batch.tokens, batch.targets).tolist())
    assert table.filter(pl.col("estimator") == "three terms", pl.col("position") < 2)["mse"].null_count() == 4
    exact, copied = (
        growing.filter(pl.col("estimator") == name, pl.col("position") == 17)["mse"]
        for name in ("least squares", "copy")
    )
    assert max(exact.to_list()) < 1e-3
    assert min(copied.to_list()) > 1, "terms grow"


def test_losing_a_part_that_matters_costs(tables: dict[str, pl.DataFrame]) -> None:
    """Nothing is carried by a part that reads one and the same; all layers together carry what is learnt."""
    table = tables["figure_ablated_parts"].filter(pl.col("seed") == 0)
    layers = table.filter(pl.col("part").str.starts_with("layer"))
    assert set(table["part"]) >= {"L0H0", "L2H3", "L1 MLP", "layer 2"}
    assert len(table) == (3 * 5 + 3) * 4
    for effect in ("mean", "resample"):
        costs = layers.filter(pl.col("effect") == effect)
        assert max(costs["value"].to_list()) > 1.05 * costs["intact"][0]
    carried = layers.filter(pl.col("effect").str.starts_with("patch"))["value"].to_list()
    assert all(abs(way) < 1.5 for way in carried)


def test_readings_tell_models_apart(runs: dict[RunSpec, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """With planted estimates after layers, and planted heads."""
    module = "rtinterp.papers.affine_recurrences.table_readings"
    run = next(iter(runs.values()))
    batch = run.spec.task.test_set()[:N_ROWS]
    exact = next_term_estimates(batch)["least squares"].float()
    copied = (batch.tokens + batch.tokens.roll(1, dims=1)) / 2
    noise = torch.randn(copied.shape, generator=torch.Generator().manual_seed(0))
    heads: dict[str, Any] = {"layer": [0, 2, 2], "head": [0, 0, 1], "previous_weight": [0.9, 0.0, 0.0]}

    def holds(estimates: list[torch.Tensor], correlations: list[float], gains: list[float]) -> dict[str, bool]:
        table = pl.DataFrame({**heads, "similarity_correlation": correlations, "gain": gains})
        monkeypatch.setattr(f"{module}.layer_estimates", lambda *_: torch.stack(estimates))
        monkeypatch.setattr(f"{module}.head_table", lambda *_: table)
        return {reading: held for reading, (_, held) in measure(run.model, batch).items()}

    assert holds([noise, copied, noise, exact], [0.0, -0.6, 0.1], [0.0, 0.0, -1.0]) == {
        "learnt": True,
        "copying: estimate": True,
        "copying: pairs": True,
        "negative: looks away": True,
        "negative: writes opposite": False,
    }
    heads["previous_weight"] = [0.2, 0.9, 0.0]
    assert holds([copied, noise, copied, noise], [-0.9, 0.6, 0.8], [-1.0, 0.5, -0.1]) == {
        "learnt": False,
        "copying: estimate": False,
        "copying: pairs": False,
        "negative: looks away": False,
        "negative: writes opposite": True,
    }
    assert not holds([copied, noise, copied, noise], [-0.9, 0.6, 0.3], [-1.0, 0.5, -0.1])["negative: writes opposite"]


def test_every_reading_has_its_words(tables: dict[str, pl.DataFrame]) -> None:
    table = tables["table_readings"]
    assert set(table["reading"]) == set(READINGS)
    assert FIRST_POSITION == 2
    shown = FIGURES["table_readings"].plot(table).to_dict()["data"][0]["cells"]["values"]
    assert len(shown[0]) == len(READINGS)
    assert all("of 2" in verdict for budget in (3, 4) for verdict in shown[budget])


def test_readings_are_told_by_budget(tables: dict[str, pl.DataFrame]) -> None:
    table = tables["table_readings"].with_columns(holds=pl.col("n_steps") == TINY.longer)
    figure = FIGURES["table_readings"].plot(table).to_dict()["data"][0]
    assert figure["header"]["values"][3:] == ["<b>after 40 steps</b>", "<b>after 50 steps</b>"]
    assert all(verdict.startswith("no, 0 of 2") for verdict in figure["cells"]["values"][3])
    assert all(verdict.startswith("yes, 2 of 2") for verdict in figure["cells"]["values"][4])


def test_other_tasks_have_their_own_estimates(tables: dict[str, pl.DataFrame], runs: dict[RunSpec, Run]) -> None:
    """Exact ones are exact from as many terms on as the task has unknowns, and models are those of the runs."""
    table = tables["figure_tasks"]
    assert table["task"].n_unique() == len(TINY.other_tasks)
    exact_from = {"dimension=2": 3, "dimension=4": 5, "degree=2": 2}
    for dial, position in exact_from.items():
        name = "polynomial through the last ones" if "degree" in dial else "least squares"
        errors = table.filter(pl.col("task").str.contains(dial, literal=True), pl.col("estimator") == name)
        if "degree" not in dial:
            errors = errors.filter(pl.col("task").str.contains("Affine"))
        medians = dict(errors.group_by("position").agg(pl.col("mse").median()).rows())
        assert medians[position] < 1e-9, dial
        assert medians[position - 1] is None or medians[position - 1] > 1e-5, dial
    run = next(run for spec, run in runs.items() if spec.task == TINY.other_tasks[1] and spec.trainable == "embeddings")
    batch = run.spec.task.test_set()[:N_ROWS]
    assert batch.targets is not None
    expected = squared_errors(run.model(batch.tokens), batch.targets)[7].item()
    row = table.filter(
        pl.col("task") == repr(run.spec.task), pl.col("trainable") == "embeddings", pl.col("seed") == run.spec.seed,
        pl.col("estimator") == "the model", pl.col("position") == 7,
    )  # fmt: skip
    assert row["mse"].to_list() == [pytest.approx(expected, rel=1e-5)]


def test_every_caption_says_what_is_our_design() -> None:
    assert all(
        "only the abstract is public" in figure.caption and "our design" in figure.caption
        for figure in FIGURES.values()
    )
