"""What figures/random_attention/README.md says of tasks, sets of parts and depth is what the shipped tables hold."""

from __future__ import annotations

import polars as pl
import pytest
from random_attention_page import both_ends, ends, near, of, said, table

from rtinterp.models.regimes import parse
from rtinterp.papers.random_attention.published import TABLE
from rtinterp.papers.random_attention.table_lattice import enough, smallest, sufficient


def test_other_tasks() -> None:
    for words, task, regime in (
        ("decimal addition is at # % with frozen", "DecimalAddition", "frozen QK"),
        ("parentheses at # to # % (fully", "ParenthesisBalancing", "frozen QK"),
        ("(fully trained # and", "DecimalAddition", "standard"),
        ("and # to # %); MixiT", "ParenthesisBalancing", "standard"),
        ("MixiT is at # to # and", "DecimalAddition", "MixiT, code"),
        ("and # to # %, the random", "ParenthesisBalancing", "MixiT, code"),
        ("the random transformer at # to # and", "DecimalAddition", "random transformer"),
        ("and # to # %. Full training", "ParenthesisBalancing", "random transformer"),
    ):
        assert both_ends(said(words)) == near(of(task, regime)), words


def test_depth() -> None:
    runs = table("figure_depth")

    def accuracies(regime: str, n_layers: int) -> list[float]:
        return ends(runs.filter(pl.col("regime") == regime, pl.col("n_layers") == n_layers), "test_accuracy")

    random = "random transformer"
    assert said("with depth here: # to # % with 2 layers, # to # % with 4 and # to # % with 8") == near(
        [*accuracies(random, 2), *accuracies(random, 4), *accuracies(random, 8)]
    )
    depths = [accuracies("MixiT, code", n_layers) for n_layers in (2, 4, 8)]
    assert said("MixiT is at # to #, # to # and # to # %, frozen") == near([end for one in depths for end in one])
    assert {end for n_layers in (2, 4, 8) for end in accuracies("frozen QK", n_layers)} == {100.0}

    def cosines(regime: str) -> list[float]:
        last = runs.filter(pl.col("regime") == regime, pl.col("n_layers") == 8, pl.col("layer") == 8)
        return ends(last, "cosine", 1.0)

    told = said("after 8 layers is # to # in the random transformer and # to # in MixiT")
    assert told == pytest.approx([*cosines(random), *cosines("MixiT, code")], abs=0.00501)


def test_the_smallest_sets() -> None:
    lattice = table("table_lattice").with_columns(pl.col("parts").fill_null(""))
    decimal, parentheses = lattice.partition_by("task", maintain_order=True)

    def ends_of(of_task: pl.DataFrame, *sets: str) -> list[float]:
        return ends(of_task.filter(pl.col("parts").is_in(sets)), "test_accuracy")

    assert smallest(sufficient(decimal)) == [parse("embeddings")]
    assert set(smallest(sufficient(parentheses))) == {parse("embeddings+ov"), parse("embeddings+norms")}
    assert said("embeddings alone do, with # to # % where # %") == near([*ends_of(decimal, ""), 100 * enough(decimal)])
    assert said("values and outputs, it is # to # %") == near(ends_of(decimal, "QK + MLP", "QK + MLP + norms"))
    assert said("outputs suffice, with # to # %, and so do norms, with # to # %; but # %") == near(
        [*ends_of(parentheses, "OV"), *ends_of(parentheses, "norms"), 100 * enough(parentheses)]
    )
    others = ("OV", "OV + MLP", "OV + norms", "OV + MLP + norms")
    alone, with_qk = ends_of(parentheses, *others), ends_of(parentheses, *(f"QK + {one}" for one in others))
    assert said("without queries and keys are above, at # to # %") == near(alone)
    assert said("and keys are at # to # %: it") == near(with_qk)
    majority = parentheses["heuristic_accuracy"][0]
    assert said("Of the majority answer's # %") == near([100 * majority])
    above = parentheses.filter(pl.col("test_accuracy") > majority)
    assert set(above["parts"]) == set(others)


def test_memorization() -> None:
    regimes = ("standard", "frozen QK", "frozen MLP", "MixiT, code", "static attention", "random transformer")
    bits = [end for regime in regimes for end in of("Memorization", regime, "bits_per_parameter", 1.0)]
    words = "fully trained # to #, frozen queries and keys # to #, frozen MLPs # to #, MixiT # to #, static"
    found = said(f"{words} attention # to #, random transformer # to #;")
    assert found == pytest.approx(bits, abs=0.00501)
    memorized = table("table_regimes").filter(pl.col("task").str.starts_with("Memorization"))
    assert max(memorized["test_accuracy"].to_list()) < 0.305
    least = TABLE["Memorization, 512 keys, width 128, bits per parameter"]
    assert said("frozen MLPs lowest (#, standard #)") == [least["frozen MLP"].value, least["standard"].value]


def test_modular_addition() -> None:
    task = "ModularAddition"
    modular = [end for name in ("standard", "frozen QK", "frozen MLP") for end in of(task, name)]
    found = said("**Modular addition**: # to # % and, with frozen queries and keys, # to # %; frozen MLPs # to # %.")
    assert found == near(modular)
    others = [end for name in ("MixiT, code", "static attention", "random transformer") for end in of(task, name)]
    found = said("MixiT # to # %, static attention # to # %, the random transformer of this width # to # %;")
    assert found == near(others)
    assert said("and # to # % with frozen queries and keys that start") == near(of(task, "frozen QK, std 0.02"))


def test_hops() -> None:
    measured = table("figure_hops")

    def by(n_hops: int, *regimes: str) -> list[float]:
        runs = measured.filter(pl.col("hops") == n_hops, pl.col("regime").is_in(regimes))
        return ends(runs, "defined_accuracy")

    def floor(n_hops: int) -> float:
        (one,) = set(measured.filter(pl.col("hops") == n_hops)["best_guess"].to_list())
        return 100 * one

    for words, expected in {
        "queries and keys (# to # %) as": by(1, "frozen QK"),
        "full training (# to # %) and": by(1, "standard"),
        "frozen MLPs (# to # %); the": by(1, "frozen MLP"),
        "random transformer, at # to # %, and": by(1, "random transformer"),
        "start with 0.02, at # to # %, are": by(1, "frozen QK, std 0.02"),
        "at # to # % (text) and # to # % (code)": [*by(1, "MixiT, text"), *by(1, "MixiT, code")],
        "static attention at # to # %: hops": by(1, "static attention"),
        "character alone earn # %": [floor(1)],
        "Two hops have a floor of # %": [floor(2)],
        "in every seed (# to # %);": by(2, "frozen MLP"),
        "full training has # to # %, frozen queries and keys # to # %, MixiT # to # %.": [
            *by(2, "standard"), *by(2, "frozen QK"), *by(2, "MixiT, text", "MixiT, code")
        ],
    }.items():  # fmt: skip
        assert said(words) == near(expected), words
    least = measured.filter(pl.col("hops") == 2).group_by("regime").agg(pl.col("defined_accuracy").min())
    assert least.filter(100 * pl.col("defined_accuracy") > floor(2))["regime"].to_list() == ["frozen MLP"]


def test_language() -> None:
    losses = table("table_language")
    regimes = ("random transformer", "standard", "frozen QK", "MixiT, code")
    expected = [end for name in regimes for end in ends(losses.filter(pl.col("regime") == name), "test_loss", 1.0)]
    expected += [losses[f"{kind}_entropy"][0] for kind in ("unigram", "bigram")]
    words = "the random transformer # to #, fully trained # to #, frozen queries and keys # to #, MixiT # to #; a"
    found = said(f"{words} unigram model #, a bigram model #.")
    assert found == pytest.approx(expected, abs=0.000501)
    assert losses["test_loss"].min() > losses["bigram_entropy"][0]
    order = losses.group_by("regime").agg(pl.col("test_loss").median()).sort("test_loss")["regime"].to_list()
    assert order == list(regimes)
