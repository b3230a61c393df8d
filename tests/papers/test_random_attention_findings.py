"""What figures/random_attention/README.md and analyses/README.md say is what the shipped tables hold."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "figures" / "random_attention"
NUMBER = r"(-?[\d.]+)"


def page(path: Path) -> str:
    return " ".join(path.read_text(encoding="utf-8").split())


def said(pattern: str, path: Path = FOLDER / "README.md") -> list[float]:
    """The numbers in the one place of the page that reads so; # stands for a number."""
    (found,) = re.findall(re.escape(pattern).replace(r"\#", NUMBER), page(path))
    return [float(number.rstrip(".")) for number in ([found] if isinstance(found, str) else found)]


def table(name: str) -> pl.DataFrame:
    return pl.read_csv(FOLDER / "data" / f"{name}.csv", infer_schema_length=None)


def ends(runs: pl.DataFrame, column: str, factor: float = 100.0) -> list[float]:
    """The smallest and the largest of three seeds."""
    assert runs["seed"].n_unique() == 3
    values = [factor * value for value in runs[column].to_list()]
    return [min(values), max(values)]


def of(task: str, regime: str, column: str = "test_accuracy", factor: float = 100.0) -> list[float]:
    runs = table("table_regimes").filter(pl.col("task").str.starts_with(task), pl.col("regime") == regime)
    return ends(runs, column, factor)


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


def near(expected: list[float]) -> object:
    """Up to what is written of a percentage."""
    return pytest.approx(expected, abs=0.0501)


def test_retrieval() -> None:
    task = "NeedleInAHaystack"
    assert said("with frozen queries and keys # to # %, fully") == near(of(task, "frozen QK"))
    assert said("fully trained # to # %. In two") == near(of(task, "standard"))
    assert said("The random transformer is at # to # %.") == near(of(task, "random transformer"))
    assert said("training as before, it is # to # %:") == near(of(task, "frozen QK, std 0.02"))
    assert said("MixiT # to # % (as in the released code)") == near(of(task, "MixiT, code"))
    assert said("and # to # % (as in the text)") == near(of(task, "MixiT, text"))
    assert said("in GPT-2's block # to # %. The most") == near(of(task, "static attention"))
    runs = table("table_regimes").filter(pl.col("task").str.starts_with(task))
    assert said("most frequent value of the context scores # %") == near([100 * runs["heuristic_accuracy"][0]])
    for regime in ("standard", "frozen QK"):
        accuracies = sorted(runs.filter(pl.col("regime") == regime)["test_accuracy"].to_list())
        assert accuracies[0] < runs["heuristic_accuracy"][0]
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


def test_other_tasks() -> None:
    for words, task, regime in (
        ("decimal addition is at # to # % with frozen", "DecimalAddition", "frozen QK"),
        ("parentheses at # to # % (fully", "ParenthesisBalancing", "frozen QK"),
        ("(fully trained # to # and", "DecimalAddition", "standard"),
        ("and # to # %); MixiT", "ParenthesisBalancing", "standard"),
        ("MixiT is at # to # and", "DecimalAddition", "MixiT, code"),
        ("and # to # %, the random", "ParenthesisBalancing", "MixiT, code"),
        ("the random transformer at # to # and", "DecimalAddition", "random transformer"),
        ("and # to # %. Full training", "ParenthesisBalancing", "random transformer"),
    ):
        assert said(words) == near(of(task, regime)), words


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


def test_memorization_modular_addition_and_hops() -> None:
    bits = [
        end
        for regime in ("standard", "frozen QK", "frozen MLP", "MixiT, code", "random transformer")
        for end in of("Memorization", regime, "bits_per_parameter", 1.0)
    ]
    words = "fully trained # to #, frozen queries and keys # to #, frozen MLPs # to #, MixiT # to #, random"
    found = said(f"{words} transformer # to #;")
    assert found == pytest.approx(bits, abs=0.00501)
    memorized = table("table_regimes").filter(pl.col("task").str.starts_with("Memorization"))
    assert max(memorized["test_accuracy"].to_list()) < 0.305
    modular = [*of("ModularAddition", "standard"), *of("ModularAddition", "frozen QK")]
    assert said("**Modular addition**: # to # % and, with frozen queries and keys, # to # %;") == near(modular)
    others = [*of("ModularAddition", "MixiT, code"), *of("ModularAddition", "random transformer")]
    assert said("MixiT # to # %, the random transformer of this width # to # %.") == near(others)
    hops = [end for name in ("standard", "frozen MLP", "MixiT, text") for end in of("KHop", name, "defined_accuracy")]
    assert said("fully trained # to # %, frozen MLPs # to # %, MixiT (text) # to # %.") == near(hops)
