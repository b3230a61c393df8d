"""What figures/random_attention/README.md says of retrieval, and analyses/README.md of speed, is in shipped tables."""

from __future__ import annotations

import polars as pl
import pytest
from random_attention_page import ROOT, both_ends, near, of, said, table


def test_what_training_less_saves() -> None:
    costs = pl.read_csv(ROOT / "analyses" / "data" / "benchmark_regimes.csv", infer_schema_length=None)

    def ratios(block: str, regime: str) -> list[float]:
        chosen = costs.filter(pl.col("block") == block, pl.col("regime") == regime)["user_over_full"].to_list()
        return [min(chosen), max(chosen)]

    def told(words: str) -> list[float]:
        return said(words, ROOT / "analyses" / "README.md")

    plain = "GPT-2's"
    assert told("takes # to # of full training in GPT-2's block") == pytest.approx(
        ratios(plain, "frozen QK"), abs=0.006
    )
    assert told("and # to # in a Llama-like one") == pytest.approx(ratios("gated", "frozen QK"), abs=0.006)
    assert told("Frozen MLPs take # to #,") == pytest.approx(ratios(plain, "frozen MLP"), abs=0.006)
    assert told("place of attention # to #,") == pytest.approx(ratios(plain, "static attention"), abs=0.006)
    assert told("a random transformer # to #.") == pytest.approx(ratios(plain, "random transformer"), abs=0.006)
    assert told("MixiT takes # to # of full") == pytest.approx(ratios("gated", "MixiT, code"), abs=0.006)


def test_retrieval() -> None:
    task = "NeedleInAHaystack"
    assert said("with frozen queries and keys # to # %, fully") == near(of(task, "frozen QK"))
    assert said("fully trained # to # %. In two") == near(of(task, "standard"))
    assert both_ends(said("The random transformer is at # %.")) == near(of(task, "random transformer"))
    assert said("training as before, it is # to # %:") == near(of(task, "frozen QK, std 0.02"))
    assert said("MixiT # to # % (as in the released code)") == near(of(task, "MixiT, code"))
    assert said("and # to # % (as in the text)") == near(of(task, "MixiT, text"))
    assert said("in GPT-2's block # to # %; no") == near(of(task, "static attention"))
    runs = table("table_regimes").filter(pl.col("task").str.starts_with(task))
    heuristic = runs["heuristic_accuracy"][0]
    assert said("no seed is above the # % of the context's most frequent value") == near([100 * heuristic])
    assert runs.filter(pl.col("body").str.contains("random mixing"))["test_accuracy"].max() < heuristic
    for regime in ("standard", "frozen QK"):
        accuracies = sorted(runs.filter(pl.col("regime") == regime)["test_accuracy"].to_list())
        assert accuracies[0] < heuristic
        assert accuracies[1:] == [1.0, 1.0]


def test_heads() -> None:
    heads = table("figure_retrieval_heads")
    by_run = heads.unique(["regime", "seed"]).group_by("regime").agg(pl.col("reproduced").sum())
    assert dict(by_run.rows()) == {
        "standard": 2,
        "frozen QK": 2,
        "frozen QK, std 0.02": 0,
        "random transformer": 3,
    }
    assert heads["frozen_unchanged"].all()
    before = heads.filter(pl.col("state") == "initial")
    most = [max(before[score].to_list()) for score in ("prev_score", "retr_score")]
    assert said("no head gives more than # and #.") == pytest.approx(most, abs=0.00501)


def test_circuits() -> None:
    effects = (
        table("figure_retrieval_circuits")
        .filter(pl.col("ablation") == "mean", pl.col("intact") >= 0.9)
        .unique(["regime", "seed"])
    )
    of_regime = {str(name): runs for (name,), runs in effects.group_by("regime")}
    assert {name: len(runs) for name, runs in of_regime.items()} == {
        "standard": 2,
        "frozen QK": 2,
        "random transformer": 3,
    }

    def told(words: str, column: str, *regimes: str) -> None:
        expected = []
        for regime in regimes:
            values = of_regime[regime][column].to_list()
            expected += [100 * min(values), 100 * max(values)]
        assert said(words) == near(expected), words

    both = ("standard", "frozen QK")
    told("the accuracy is # to # % in fully trained models and # to # % with frozen", "without_pair", *both)
    told("of each layer, it is # to # % and # to # % (medians", "without_others_median", *both)
    told("the two and the MLPs it is # to # % and # to # %.", "pair_and_mlps", *both)
    told("does not need them: # to # % without", "without_pair", "random transformer")
    told("most by themselves: # to # %, beside", "pair_and_mlps", "random transformer")
    others = max(of_regime["random transformer"]["others_and_mlps_max"].to_list())
    assert said("beside # % at most of any other pair") == near([100 * others])
    counts = []
    for regime in (*both, "random transformer"):
        counts += [of_regime[regime]["n_with_pair"].sum(), of_regime[regime]["n_minimal"].sum()]
    assert said("have both heads: # of #, # of # and # of #.") == counts
