"""What captions of the causal tests say was found is what the tables that ship say."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from rtinterp.figures.render import table_path
from rtinterp.papers.mechanism import FIGURES
from rtinterp.papers.mechanism.interchange_measurements import AFTER_FIRST, AFTER_LAST, ANSWER

SHIPPED = Path(__file__).parents[2] / "figures"
EMBEDDING, LAST = "blocks.0.hook_resid_pre", "blocks.1.hook_resid_post"
IS_RANDOM = pl.col("trainable") == "embeddings"
NEEDLE, MODULAR, DECIMAL, PARENTHESES = (
    pl.col("task").str.starts_with(name) for name in ("Needle", "Modular", "Decimal", "Parenthesis")
)


def shipped(name: str) -> pl.DataFrame:
    return pl.read_csv(table_path(name, SHIPPED / "mechanism"), infer_schema_length=None)


def says(name: str, words: str) -> None:
    assert words in FIGURES[name].caption, f"{name} no longer says {words!r}: hold what it says now"


def medians(table: pl.DataFrame, *columns: str) -> pl.DataFrame:
    return table.group_by("task", "trainable").agg(pl.col(column).median() for column in columns)


def test_rank_curves() -> None:
    ranks, sites = shipped("table_ranks").filter(IS_RANDOM), shipped("table_variance_and_use").filter(IS_RANDOM)
    most = ranks.filter(basis="principal")["k95"].max()
    least = ranks.filter(~pl.col("basis").is_in(["principal", "sensitive"]))["k95"].min()
    says("figure_rank_curves", f"at most {most} principal directions suffice in any seed and site, where controls need")
    says("figure_rank_curves", f"controls need {least} or more")
    says("figure_rank_curves", "read most are fewer still after the last layer, and many more at the embedding")
    k95 = ("k95_sensitive", "k95_principal")
    last, first = (medians(sites.filter(pl.col("site") == site), *k95) for site in (LAST, EMBEDDING))
    assert (last["k95_sensitive"] < last["k95_principal"]).all()
    assert (first["k95_sensitive"] > 2 * first["k95_principal"]).all()


def test_ranks() -> None:
    says("table_ranks", "fully trained models use fewer still after either layer")
    principal = shipped("table_ranks").filter(pl.col("basis") == "principal", pl.col("site").str.ends_with("_post"))
    of = principal.group_by("task", "site", "trainable").agg(pl.col("k95").median())
    both = of.pivot(on="trainable", index=["task", "site"], values="k95")
    assert len(both) == 8
    assert (both["all"] < both["embeddings"]).all()


def test_variance_and_use() -> None:
    says("table_variance_and_use", "hold less than a fifth of the variance; full training aligns the two")
    last = medians(shipped("table_variance_and_use").filter(site=LAST), "variance_sensitive", "overlap")
    assert (last.filter(IS_RANDOM)["variance_sensitive"] < 0.2).all()
    assert last.filter(~IS_RANDOM)["overlap"].sort()[0] > last.filter(IS_RANDOM)["overlap"].sort()[-1]


def test_circuits() -> None:
    runs = shipped("figure_circuits").unique(["task", "trainable", "seed"])
    smallest = runs.filter(IS_RANDOM)["smallest"]
    says("figure_circuits", f"have up to {runs['n_minimal'].max()} minimal circuits, which all overlap")
    says("figure_circuits", f"of a random transformer has {smallest.min()} to {smallest.max()} nodes, by the task")
    assert (runs["n_disjoint"] == 1).all()
    of_task = runs.filter(IS_RANDOM).group_by("task").agg(pl.col("smallest").max() - pl.col("smallest").min())
    assert (of_task["smallest"] <= 1).all()


def test_interchange() -> None:
    table = shipped("figure_interchange")
    at_answer = table.filter(pl.col("place") == ANSWER)
    last = at_answer.filter(pl.col("site") == AFTER_LAST)
    many_answers = last.filter(~PARENTHESES)
    says("figure_interchange", "32 directions of any fitted basis hold each variable, and random ones none")
    of_32 = many_answers.filter(pl.col("rank") == 32)
    assert (of_32.filter(pl.col("basis").is_in(["learned", "principal", "sensitive"]))["accuracy"] > 0.85).all()
    assert (of_32.filter(pl.col("basis") == "random")["accuracy"] < 0.1).all()
    says("figure_interchange", "the part that is read does it, the other nothing")
    assert (many_answers.filter(basis="unseen")["accuracy"] < 0.1).all()
    assert (many_answers.filter(basis="seen")["accuracy"] > 0.5).all()
    says(
        "figure_interchange",
        "The value asked for by needle arrives at the position that predicts in the last layer only",
    )
    asked = at_answer.filter(NEEDLE, variable="queried value", basis="whole")
    assert (asked.filter(site=AFTER_FIRST)["accuracy"] < 0.5).all()
    assert (asked.filter(site=AFTER_LAST)["accuracy"] > 0.9).all()
    says("figure_interchange", "For parentheses the controls succeed, too")
    assert last.filter(PARENTHESES, IS_RANDOM, basis="placebo")["accuracy"].sort()[-1] > 0.5


@pytest.fixture(scope="module")
def transplants() -> pl.DataFrame:
    return shipped("figure_transplants")


def test_transplants(transplants: pl.DataFrame) -> None:
    def of(task: pl.Expr, embeddings: str, treatment: str) -> pl.Series:
        return transplants.filter(task, embeddings=embeddings, treatment=treatment)["accuracy"].sort()

    says("figure_transplants", "do no better than guessing on modular addition and needle")
    assert of(MODULAR, "another", "raw")[-1] < 0.05
    assert of(NEEDLE, "another", "raw")[-1] < 0.12
    says("figure_transplants", "and no better than a heuristic elsewhere")
    raw = transplants.filter(DECIMAL | PARENTHESES, embeddings="another", treatment="raw")
    assert (raw["accuracy"] < raw["heuristic_accuracy"]).all()
    says(
        "figure_transplants",
        "A rotation brings all of needle back and most of decimal addition, far more than it makes of",
    )
    assert of(NEEDLE, "another", "rotated")[0] > 0.99
    assert of(DECIMAL, "another", "rotated")[0] > 0.8
    for task in (NEEDLE, DECIMAL):
        assert of(task, "another", "rotated")[0] > of(task, "untrained", "rotated")[-1] + 0.25
    says("figure_transplants", "Modular addition: no.")
    assert of(MODULAR, "another", "rotated")[-1] < 0.05
    says("figure_transplants", "does not reach rows that it has not seen, not even the body's own")
    affine = transplants.filter(embeddings="own", treatment="affine")
    assert (affine["accuracy"] < affine["intact"] - 0.09).all()
    says("figure_transplants", "makes little more of another body's embeddings than of untrained ones")
    for task in (NEEDLE, DECIMAL, MODULAR, PARENTHESES):
        assert of(task, "another", "refitted")[-1] < of(task, "untrained", "refitted")[0] + 0.08
    says("figure_transplants", "(of the body's own in modular addition, half)")
    assert 0.35 < of(MODULAR, "own", "refitted")[0] < of(MODULAR, "own", "refitted")[-1] < 0.6
