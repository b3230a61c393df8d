"""What figures/README.md says of the causal tests is what the tables that ship say."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from rtinterp.figures import style
from rtinterp.figures.regime_style import regime_name
from rtinterp.figures.render import table_path

SHIPPED = Path(__file__).parents[2] / "figures"
HEADER = (
    "| task | model | seeds | k95 of PCA | of those read most | of random ones | variance in PCA's k95, % "
    "| overlap of the two, % (at random) | minimal circuits | nodes of the smallest | disjoint |"
)
SITES = ("blocks.0.hook_resid_pre", "blocks.0.hook_resid_post", "blocks.1.hook_resid_post")


def shipped(name: str) -> pl.DataFrame:
    return pl.read_csv(table_path(name, SHIPPED / "mechanism"), infer_schema_length=None)


@pytest.fixture(scope="module")
def ranks() -> pl.DataFrame:
    return shipped("table_ranks")


@pytest.fixture(scope="module")
def sites() -> pl.DataFrame:
    return shipped("table_variance_and_use")


@pytest.fixture(scope="module")
def circuits() -> pl.DataFrame:
    return shipped("figure_circuits")


@pytest.fixture(scope="module")
def page() -> str:
    return (SHIPPED / "README.md").read_text(encoding="utf-8")


def of_sites(table: pl.DataFrame, column: str, digits: int = 0) -> str:
    """Medians over seeds at the embedding, after layer 0 and after layer 1."""
    medians = [table.filter(pl.col("site") == site)[column].median() for site in SITES]
    return " / ".join(f"{median:.{digits}f}" for median in medians)


def count_range(counts: pl.Series) -> str:
    return str(counts.min()) if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"


def row_of(ranks: pl.DataFrame, sites: pl.DataFrame, circuits: pl.DataFrame) -> str:
    by_basis = {basis: ranks.filter(pl.col("basis") == basis) for basis in ("principal", "sensitive", "random")}
    share = pl.col("variance_principal", "overlap", "expected_overlap") * 100
    sites = sites.with_columns(share)
    runs = circuits.unique("seed")
    cells = [
        style.task_title(ranks["task"][0]),
        regime_name(ranks["trainable"][0]),
        str(ranks["seed"].n_unique()),
        *(of_sites(table, "k95") for table in by_basis.values()),
        of_sites(sites, "variance_principal"),
        f"{of_sites(sites, 'overlap')} ({of_sites(sites, 'expected_overlap')})",
        *(count_range(runs[name]) for name in ("n_minimal", "smallest", "n_disjoint")),
    ]
    return f"| {' | '.join(cells)} |"


def test_the_table_of_causal_tests_is_that_of_the_shipped_tables(
    page: str, ranks: pl.DataFrame, sites: pl.DataFrame, circuits: pl.DataFrame
) -> None:
    models = ranks.select("task", "trainable").unique(maintain_order=True).rows()
    rows = []
    for task, trainable in models:
        of_model = (pl.col("task") == task) & (pl.col("trainable") == trainable)
        rows.append(row_of(ranks.filter(of_model), sites.filter(of_model), circuits.filter(of_model)))
    found = re.search(rf"^{re.escape(HEADER)}\n\|[- |]+\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert found is not None, HEADER
    assert found[1].splitlines() == rows


def said(page: str, pattern: str) -> list[float]:
    """The numbers that a sentence of the page has in the places of ``#``."""
    escaped = re.escape(" ".join(pattern.split())).replace(r"\#", "#").replace("#", r"(\d+)")
    found = re.search(escaped, " ".join(page.split()))
    assert found is not None, pattern
    return list(map(float, found.groups()))


def medians(table: pl.DataFrame, column: str, site: str) -> pl.DataFrame:
    return table.filter(pl.col("site") == site).group_by("task", "trainable").agg(pl.col(column).median())


def test_the_subspace_is_selected(page: str, ranks: pl.DataFrame) -> None:
    random = ranks.filter(pl.col("trainable") == "embeddings")
    (most,) = said(page, "do random transformers need more than # principal directions")
    assert most == random.filter(pl.col("basis") == "principal")["k95"].max()
    (least,) = said(page, "they need # to all")
    controls = random.filter(~pl.col("basis").is_in(["principal", "sensitive"]))
    assert set(controls["basis"]) == {"coordinates", "random", "untrained", "other seed"}
    assert least == controls["k95"].min()


def test_it_is_no_smaller_than_in_fully_trained_models(page: str, ranks: pl.DataFrame) -> None:
    assert "*It is no smaller than elsewhere.*" in page
    principal = ranks.filter(pl.col("basis") == "principal")
    for site in SITES[1:]:
        k95 = medians(principal, "k95", site).pivot(on="trainable", index="task", values="k95").drop_nulls()
        assert len(k95) == 4
        assert (k95["embeddings"] > k95["all"]).all()


def test_variance_is_not_use(page: str, sites: pl.DataFrame) -> None:
    random = sites.filter(pl.col("trainable") == "embeddings")
    read, principal = (medians(random, f"k95_{basis}", SITES[-1]) for basis in ("sensitive", "principal"))
    both = read.join(principal, on=["task", "trainable"])
    assert len(both) == 4
    assert (both["k95_sensitive"] < both["k95_principal"]).all()
    embedding = random.filter(pl.col("site") == SITES[0])
    least, most = said(page, "found to first order, need at least #, and PCA at most #")
    assert (least, most) == (embedding["k95_sensitive"].min(), embedding["k95_principal"].max())
    rank, left = said(page, "on needle, # principal directions that hold the answer leave at least # %")
    curves = shipped("figure_rank_curves").filter(
        pl.col("task").str.starts_with("Needle"), pl.col("trainable") == "embeddings",
        pl.col("site") == SITES[-1], pl.col("basis") == "principal", pl.col("rank") == rank,
    )  # fmt: skip
    assert (curves.filter(pl.col("effect") == "keep")["accuracy"] > 0.95).all()
    taken = curves.filter(pl.col("effect") == "remove")["accuracy"] * 100
    assert len(taken) == 3
    assert round(pl.select(pl.lit(taken).min()).item()) == left


def test_full_training_aligns_variance_and_use(page: str, sites: pl.DataFrame) -> None:
    trained, random, at_random = said(
        page,
        "they overlap by # % or more in fully trained models, by # % or less in random ones, and at random by # % or "
        "less",
    )
    overlaps = medians(sites, "overlap", SITES[-1]).partition_by("trainable", as_dict=True)
    assert round(overlaps["all",]["overlap"].sort()[0] * 100) == trained
    assert round(overlaps["embeddings",]["overlap"].sort()[-1] * 100) == random
    assert round(medians(sites, "expected_overlap", SITES[-1])["expected_overlap"].sort()[-1] * 100) == at_random


def test_circuits_are_many_and_share_nodes(page: str, circuits: pl.DataFrame) -> None:
    assert (circuits["n_disjoint"] == 1).all()
    assert said(page, "Every model has up to # minimal circuits") == [circuits["n_minimal"].max()]
    random = circuits.filter(pl.col("trainable") == "embeddings")
    needle = random.filter(pl.col("task").str.starts_with("Needle"))
    (cost,) = said(page, "no single node costs a random transformer more than # % of its accuracy")
    assert round((needle["intact"] - needle["without"]).sort()[-1] * 100) == cost
    modular = random.filter(pl.col("task").str.starts_with("Modular"), pl.col("node").str.starts_with("L0H"))
    (left,) = said(page, "modular addition falls to # % or less without one head of layer 0")
    worst = modular.group_by("seed").agg(pl.col("without").min())["without"]
    assert round(worst.sort()[-1] * 100) == left
