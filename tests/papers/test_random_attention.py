"""Figures of random attention: what is measured of short trainings."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import polars as pl
import pytest
import torch
from corpus_references import made_up_corpus

from rtinterp import train
from rtinterp.analysis import accuracy
from rtinterp.figures.paper import NoCorpusError
from rtinterp.models.parameters import GROUPS
from rtinterp.models.regimes import parse
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.papers.random_attention import PAPER
from rtinterp.papers.random_attention.budgets import Budget, LanguageBudget, Scale
from rtinterp.papers.random_attention.grid import lattice_sets
from rtinterp.papers.random_attention.regimes import REGIMES, Size, regime_of
from rtinterp.papers.random_attention.table_lattice import enough, parts_of, smallest, sufficient
from rtinterp.papers.random_attention.textbook_heads import frozen_unchanged
from rtinterp.tasks import (
    DecimalAddition,
    KHopInduction,
    Memorization,
    ModularAddition,
    NeedleInAHaystack,
    ParenthesisBalancing,
)
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec, TrainSpec

TRAINING = TrainSpec(n_steps=4, batch_size=16, learning_rate=1e-2, n_warmup_steps=1)
SIZE = Size(16)
TASKS = (
    NeedleInAHaystack(max_pairs=4, n_values=8),
    KHopInduction(max_hops=1, length=12),
    DecimalAddition(n_digits=2),
    ParenthesisBalancing(max_pairs=5),
    ModularAddition(p=13),
    Memorization(n_keys=8),
)
TINY = Scale(
    tasks=tuple(Budget(task, SIZE, TRAINING) for task in TASKS),
    depths=(2, 3),
    language=LanguageBudget(300, 16, SIZE, TRAINING),
)
CORPUS = made_up_corpus()
FIGURES = PAPER.figures


@pytest.fixture(scope="module")
def runs() -> dict[RunSpec, Run]:
    specs = [spec for experiment in PAPER.experiments.values() for spec in experiment(TINY, 2, CORPUS)]
    specs = list(dict.fromkeys(specs))
    return dict(zip(specs, train(specs, progress=False), strict=True))


@pytest.fixture(scope="module")
def tables(runs: dict[RunSpec, Run]) -> dict[str, pl.DataFrame]:
    def of(name: str) -> pl.DataFrame:
        specs = PAPER.experiments[FIGURES[name].experiment or ""](TINY, 2, CORPUS)
        return FIGURES[name].compute([runs[spec] for spec in specs])

    return {name: of(name) for name in FIGURES}


def test_every_figure_is_drawn_of_every_seed(tables: dict[str, pl.DataFrame]) -> None:
    for name, table in tables.items():
        assert set(table["seed"]) == {0, 1}, name
        assert FIGURES[name].plot(table).to_dict()["data"], name
        assert set(FIGURES[name].key) <= set(table.columns), name


def test_a_regime_is_told_by_its_run() -> None:
    budget = TINY.tasks[0]
    specs = {name: budget.runs(regime, [0])[0] for name, regime in REGIMES.items()}
    assert {name: regime_of(spec) for name, spec in specs.items()} == {name: name for name in REGIMES}
    assert regime_of(budget.runs_of_set("embeddings+norms", [0])[0]) == parse_name("embeddings+norms")
    lengths = {name: spec.model.mixing_length for name, spec in specs.items() if isinstance(spec.model, ModelSpec)}
    assert {length for length in lengths.values() if length} == {budget.task.sequence_length}
    assert [name for name, length in lengths.items() if length] == ["static attention", "MixiT, text", "MixiT, code"]


def parse_name(trainable: str) -> str:
    return RunSpec(TASKS[0], ModelSpec(16), TRAINING, trainable).trainable


def test_language_keeps_a_quarter_of_the_stream_and_needs_a_text() -> None:
    runs = PAPER.experiments["language"](TINY, 1, CORPUS)
    shares = {regime_of(run): run.model.skip_share for run in runs if isinstance(run.model, ModelSpec)}
    assert {name: share for name, share in shares.items() if share} == {"MixiT, code": 0.25}
    with pytest.raises(NoCorpusError):
        PAPER.experiments["language"](TINY, 1, None)


def test_the_lattice_has_every_set_once() -> None:
    sets = list(map(parse, lattice_sets()))
    assert len(set(sets)) == 16
    assert {"embeddings", "frozen_qk", "frozen_mlp", "all"} <= set(lattice_sets())
    assert all(parse("embeddings") <= one <= set(GROUPS) for one in sets)
    assert parts_of("frozen_qk") == "OV + MLP + norms"
    assert parts_of("embeddings") == ""


def test_the_smallest_sets_that_suffice() -> None:
    """Planted: norms alone, or OV with the MLPs, suffice; a seed that fails takes a set out."""
    seeds = {
        "embeddings": (0.3, 0.4),
        "embeddings+norms": (0.92, 0.99),
        "embeddings+ov": (0.5, 0.99),
        "embeddings+ov+mlp": (0.95, 0.95),
        "frozen_qk": (1.0, 1.0),
        "all": (1.0, 1.0),
    }
    rows = [
        {"trainable": parse_name(name), "test_accuracy": value, "floor_accuracy": 0.1}
        for name, values in seeds.items()
        for value in values
    ]
    table = pl.DataFrame(rows)
    assert enough(table) == pytest.approx(0.91)
    assert set(smallest(sufficient(table))) == {parse("embeddings+norms"), parse("embeddings+ov+mlp")}
    assert len(sufficient(table)) == 4


def test_a_table_of_regimes_has_what_only_one_task_has(
    tables: dict[str, pl.DataFrame], runs: dict[RunSpec, Run]
) -> None:
    table = tables["table_regimes"]
    assert len(table) == len(TASKS) * len(REGIMES) * 2
    run = next(run for spec, run in runs.items() if spec.task == TASKS[1] and regime_of(spec) == "frozen QK")
    batch = TASKS[1].test_set()
    defined = batch.scored.clone()
    defined[:, 0] = False
    defined &= batch.targets != TASKS[1].undefined_token
    expected = accuracy(run.model, dataclasses.replace(batch, scored=defined))
    of_run = table.filter(pl.col("task") == repr(TASKS[1]), pl.col("regime") == "frozen QK", pl.col("seed") == 0)
    assert of_run["defined_accuracy"].to_list() == [pytest.approx(expected)]
    floors = TASKS[1].defined_floors()
    n_defined = {hops: int((defined & (batch.tokens[:, :1] == hops)).sum()) for hops in floors}
    floor = sum(floors[hops] * n for hops, n in n_defined.items()) / sum(n_defined.values())
    (told,) = set(table.filter(pl.col("task") == repr(TASKS[1]))["defined_floor"])
    assert told == pytest.approx(floor)
    bits_of = table.filter(pl.col("bits_per_parameter").is_not_null())
    assert set(bits_of["task"]) == {repr(TASKS[-1])}
    for row in bits_of.iter_rows(named=True):
        assert row["bits_per_parameter"] * row["n_trainable"] == pytest.approx(3 * 64 * row["test_accuracy"])
    by_regime = dict(bits_of.select("regime", "n_trainable").iter_rows())
    embeddings = 16 * (16 + TASKS[-1].n_ctx + 16)
    assert by_regime["random transformer"] == embeddings
    assert by_regime["standard"] - by_regime["frozen MLP"] == 2 * (2 * 16 * 64 + 64 + 16)


def test_hops_are_told_apart(tables: dict[str, pl.DataFrame]) -> None:
    table = tables["figure_hops"]
    assert set(table["hops"]) == {0, 1}
    by_run = table.group_by("regime", "seed").agg((pl.col("defined_accuracy") * pl.col("n_defined")).sum())
    assert len(by_run) == len(REGIMES) * 2


def test_depth_follows_the_initial_model(tables: dict[str, pl.DataFrame], runs: dict[RunSpec, Run]) -> None:
    table = tables["figure_depth"]
    assert table.group_by("n_layers").agg(pl.col("layer").max()).sort("n_layers").rows() == [(2, 2), (3, 3)]
    chosen = [pl.col("regime") == "MixiT, code", pl.col("seed") == 1, pl.col("n_layers") == 3, pl.col("layer") == 2]
    run = next(
        run for spec, run in runs.items()
        if spec in PAPER.experiments["depth"](TINY, 2, None) and (regime_of(spec), spec.seed) == ("MixiT, code", 1)
        and isinstance(spec.model, ModelSpec) and spec.model.n_layers == 3
    )  # fmt: skip
    tokens = run.spec.task.test_set().tokens[:256]
    _, cache = run.initial_model.run_with_cache(tokens, names_filter="blocks.1.hook_resid_post")
    stream = cache["blocks.1.hook_resid_post"].detach().double().numpy()
    unit = stream / np.linalg.norm(stream, axis=-1, keepdims=True)
    cosines = unit @ unit.transpose(0, 2, 1)
    different = ~np.eye(stream.shape[1], dtype=bool)
    row = table.filter(*chosen)
    assert row["cosine"].to_list() == [pytest.approx(cosines[:, different].mean())]
    assert row["mean_square"].to_list() == [pytest.approx((stream**2).mean())]
    assert row["test_accuracy"].to_list() == [run.test_accuracy]


def test_no_regime_of_depth_lies_under_another_and_floors_are_named(tables: dict[str, pl.DataFrame]) -> None:
    table = tables["figure_depth"]
    drawing = FIGURES["figure_depth"].plot(table).to_dict()
    of_accuracy = [trace for trace in drawing["data"] if trace["xaxis"] == "x" and trace["mode"] == "markers"]
    places = {trace["name"]: set(trace["x"]) for trace in of_accuracy}
    assert set(places) == set(table["regime"])
    assert len(set.union(*places.values())) == sum(map(len, places.values()))
    named = {note["text"]: note["y"] for note in drawing["layout"]["annotations"]}
    for floor in ("floor", "heuristic"):
        assert named[table[floor][0]] == table[f"{floor}_accuracy"][0]


def test_shapley_values_of_all_nodes_share_what_is_earned(tables: dict[str, pl.DataFrame]) -> None:
    table = tables["figure_retrieval_circuits"]
    of_run = table.group_by("regime", "seed", "ablation").agg(
        pl.col("shapley").sum(), pl.col("intact").first(), pl.col("none").first(), pl.len()
    )
    assert set(of_run["len"]) == {10}
    for row in of_run.iter_rows(named=True):
        assert row["shapley"] == pytest.approx(row["intact"] - row["none"], abs=1e-9)


def test_heads_of_an_untrained_model_are_not_reproduced(
    tables: dict[str, pl.DataFrame], runs: dict[RunSpec, Run]
) -> None:
    table = tables["figure_retrieval_heads"]
    assert len(table) == 4 * 2 * 2 * 8
    assert not table["reproduced"].any()
    assert table["frozen_unchanged"].all()
    run = next(run for spec, run in runs.items() if spec.task == TASKS[0] and regime_of(spec) == "frozen QK")
    changed = {"W_Q": True, "W_V": False}
    for name, is_frozen in changed.items():
        weights = dict(run.model.named_parameters())[f"blocks.1.attn.{name}"]
        with torch.no_grad():
            weights[0, 0, 0] += 1e-6
        assert frozen_unchanged(run) != is_frozen, name
        with torch.no_grad():
            weights[0, 0, 0] -= 1e-6
        weights.data = dict(run.initial_model.named_parameters())[f"blocks.1.attn.{name}"].data.clone()


def test_patterns_are_of_the_best_heads(tables: dict[str, pl.DataFrame]) -> None:
    patterns, heads = tables["figure_retrieval_patterns"], tables["figure_retrieval_heads"]
    trained = heads.filter(pl.col("state") == "trained")
    for role, layer, score in (("previous", 0, "prev_score"), ("retrieval", 1, "retr_score")):
        of_layer = trained.filter(pl.col("layer") == layer).sort(score, descending=True)
        best = {
            (regime, seed): head
            for regime, seed, head in of_layer.unique(["regime", "seed"], keep="first")
            .select("regime", "seed", "head")
            .iter_rows()
        }
        shown = patterns.filter(pl.col("role") == role).select("regime", "seed", "head").unique()
        assert {(regime, seed): head for regime, seed, head in shown.iter_rows()} == best
    assert set(patterns["key_label"]) == {"a", "b", "c", "d", "1", "2", "3", "4", "b?"}


def test_language_has_its_ngrams(tables: dict[str, pl.DataFrame]) -> None:
    table = tables["table_language"]
    assert (table["bigram_entropy"] < table["unigram_entropy"]).all()
    assert (table["test_loss"] < math.log(300) + 2).all()
