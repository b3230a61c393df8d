"""What figures/README.md says of models of the paper's own sizes is what the tables that ship say."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from rtinterp.figures.render import table_path

SHIPPED = Path(__file__).parents[2] / "figures"
TASKS = {
    "modular addition": "ModularAddition(p=199)",
    "needle in a haystack": "NeedleInAHaystack(max_pairs=30, n_values=127)",
    "decimal addition": "DecimalAddition(n_digits=10, score_first_digit=False)",
    "parentheses": "ParenthesisBalancing(max_pairs=30)",
}
SHORT_TRAINED_ON = "ParenthesisBalancing(max_pairs=30, short_strings='trained on')"
#: The longest strings of which the official list holds out every one, and those that all models see much of.
MAX_SHORT, MAX_MIDDLE = 6, 30


def shipped(name: str, **fields: object) -> pl.DataFrame:
    """The rows of models of the paper's sizes."""
    table = pl.read_csv(table_path(name, SHIPPED / "random_transformers"), infer_schema_length=None)
    return table.filter(scale="short", **fields)


@pytest.fixture(scope="module")
def page() -> str:
    """The text without its line breaks."""
    text = (SHIPPED / "README.md").read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", text)


def told(values: pl.Series, factor: float = 100, digits: int = 1) -> str:
    """The least and the greatest; one number if they are printed alike."""
    low, high = (f"{factor * value:.{digits}f}" for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def of_task(table: pl.DataFrame, name: str, column: str = "test_accuracy") -> str:
    return told(table.filter(task=TASKS[name])[column])


def test_accuracies_of_random_transformers(page: str) -> None:
    wide = shipped("table1_accuracy", body="transformer", d_model=1024, trainable="embeddings")
    narrow = shipped("table1_accuracy", body="transformer", d_model=16, trainable="embeddings")
    assert wide.filter(pl.col("task").is_in(TASKS.values()))["seed"].n_unique() == 5
    assert narrow["seed"].n_unique() == 10
    assert (
        f"(5 seeds each, width 1024): {of_task(wide, 'needle in a haystack')} % on needle, "
        f"{of_task(wide, 'decimal addition')} % on decimal addition, {of_task(wide, 'modular addition')} % on modular "
        f"addition ({of_task(wide, 'modular addition', 'accuracy_without_twin')} % of the pairs whose twin is not "
        f"trained on), {of_task(wide, 'parentheses')} % on parentheses"
    ) in page
    assert (
        f"At width 16 (10 seeds) they have {of_task(narrow, 'needle in a haystack')} %, "
        f"{of_task(narrow, 'decimal addition')} %, {of_task(narrow, 'modular addition')} % and "
        f"{of_task(narrow, 'parentheses')} %."
    ) in page


def test_the_readme_has_the_medians() -> None:
    readme = re.sub(r"\s+", " ", (SHIPPED.parent / "README.md").read_text(encoding="utf-8"))
    wide = shipped("table1_accuracy", body="transformer", d_model=1024, trainable="embeddings")
    medians = {name: f"{100 * wide.filter(task=task)['test_accuracy'].median():.1f} %" for name, task in TASKS.items()}
    assert (
        f"have {medians['needle in a haystack']} on needle in a haystack, {medians['decimal addition']} on decimal "
        f"addition, {medians['modular addition']} on modular addition and {medians['parentheses']} on parentheses"
    ) in readme


def test_seconds_on_a_gpu() -> None:
    pages = (SHIPPED.parent / "analyses" / "README.md", SHIPPED / "README.md")
    speed, figures = (re.sub(r"\s+", " ", page.read_text(encoding="utf-8")) for page in pages)
    runs = shipped("histories", body="transformer", d_model=1024, trainable="embeddings")

    def seconds(task: str, n_stacked: int) -> str:
        return f"{runs.filter(task=task, n_stacked=n_stacked)['duration_seconds'].unique().item():.0f}"

    needle = seconds(TASKS["needle in a haystack"], 5)
    whole = seconds(TASKS["decimal addition"].replace("False", "True"), 3)
    assert f"of width 1024 took {needle} s for 2,400 steps" in speed
    assert f"with its first digit scored {whole} s for 700" in speed
    assert f"beside them took {seconds(TASKS['decimal addition'], 5)} s" in speed
    assert f"an H100 needs {needle} seconds for five seeds" in figures


def by_length(table: pl.DataFrame, low: int, high: int) -> pl.Series:
    """Accuracy of every seed on the strings of some lengths."""
    rows = table.filter(pl.col("length").is_between(low, high))
    right = (pl.col("accuracy") * pl.col("n_rows")).sum() / pl.col("n_rows").sum()
    return rows.group_by("seed").agg(right=right)["right"]


def test_parentheses_by_length(page: str) -> None:
    table = shipped("figure_parentheses_lengths")
    wide = table.filter(d_model=1024, task=TASKS["parentheses"], body="transformer", strings="all")
    random, normal = (wide.filter(trainable=trainable) for trainable in ("embeddings", "all"))
    balanced = table.filter(
        d_model=1024, task=TASKS["parentheses"], body="transformer", strings="balanced", trainable="embeddings"
    )
    lstm = table.filter(body="lstm", task=TASKS["parentheses"], strings="all")
    trained_on = table.filter(task=SHORT_TRAINED_ON, d_model=1024, trainable="embeddings", strings="all")
    short, middle, long = (1, MAX_SHORT), (MAX_SHORT + 1, MAX_MIDDLE), (MAX_MIDDLE + 1, 60)
    assert (
        f"Random transformers are right on {told(by_length(random, *middle))} % of the strings of 7 to 30 symbols, on "
        f"{told(by_length(random, *long))} % of the longer ones and on {told(by_length(random, *short))} % of those of "
        f"up to 6, where they call {told(by_length(balanced, *short))} % of the balanced ones balanced"
    ) in page
    assert (
        f"the same with the short strings trained on (3 seeds): {told(by_length(trained_on, *short))} %, "
        f"{told(by_length(trained_on, *middle))} % and {told(by_length(trained_on, *long))} %, and "
        f"{told(by_length(trained_on, 1, 60))} % in all"
    ) in page
    assert (
        f"Trained LSTMs (2 seeds) have {told(by_length(lstm, *short))} % on them all the same. Fully trained "
        f"transformers (3 seeds) have {told(by_length(normal, *short))} %, {told(by_length(normal, *middle))} % and "
        f"{told(by_length(normal, *long))} %"
    ) in page


def test_fully_trained_models_have_not_converged(page: str) -> None:
    wide = shipped("table1_accuracy", d_model=1024, trainable="all")
    normal, lstm = (wide.filter(body=body) for body in ("transformer", "lstm"))
    assert (
        f"In as many steps at the official rate, 1e-3, fully trained transformers have "
        f"{of_task(normal, 'needle in a haystack')} % on needle (2 seeds), {of_task(normal, 'decimal addition')} % on "
        f"decimal addition (3) and {of_task(normal, 'parentheses')} % on parentheses (3)"
    ) in page
    assert f"LSTMs, at 5e-3, {of_task(lstm, 'decimal addition')} % on decimal addition (2)" in page
    of_width_16 = shipped("table1_accuracy", d_model=16, trainable="all")
    narrow, sums = (of_width_16.filter(task=TASKS[name]) for name in ("parentheses", "modular addition"))
    assert f"those of width 16 are further, {told(narrow['test_accuracy'])} % ({len(narrow)} seeds)" in page
    assert narrow["test_accuracy"].min() > normal.filter(task=TASKS["parentheses"])["test_accuracy"].max()
    (n_steps,) = set(sums["n_steps"])
    assert (
        f"on modular addition these have {told(sums['test_accuracy'])} % ({len(sums)} seeds) after {n_steps:,} steps"
    ) in page
    course = shipped("histories", task=TASKS["modular addition"], d_model=16, trainable="all")
    medians = course.group_by("step").agg(pl.col("test_accuracy").median()).sort("step")["test_accuracy"]
    assert medians[-1] > medians[-10] + 0.01, "still rising"


def test_quick_models_that_need_more_steps(page: str) -> None:
    table = pl.read_csv(table_path("table1_accuracy", SHIPPED / "random_transformers"), infer_schema_length=None)
    quick = table.filter(scale="quick", body="transformer", size="wide")
    sums = quick.filter(task="ModularAddition(p=79)", trainable="all")["test_accuracy"]
    assert f"*Fully trained modular addition* has {100 * sums.median():.1f} % ({told(sums)})" in page
    whole = quick.filter(task="DecimalAddition(n_digits=2, score_first_digit=True)")
    random, normal = (whole.filter(trainable=which)["test_accuracy"] for which in ("embeddings", "all"))
    assert (
        f"{100 * random.median():.1f} % ({told(random)}) by random transformers, {100 * normal.median():.1f} % by "
        "fully trained ones (table 1)"
    ) in page


def test_clocks(page: str) -> None:
    runs = shipped("figure3_embeddings").unique("seed")
    assert runs.height == 5
    assert (
        f"Gradient symmetricity is {told(runs['gradient_symmetricity'], 1, 2)} and distance irrelevance "
        f"{told(runs['distance_irrelevance'], 1, 2)} in 5 seeds"
    ) in page


def test_heads_of_the_needle(page: str) -> None:
    heads = shipped("figure2_attention").unique(["seed", "role", "state"])
    assert heads["seed"].n_unique() == 3

    def score(role: str, state: str) -> str:
        return told(heads.filter(role=role, state=state)["score"], 1, 2)

    assert (
        f"(3 seeds) a head of layer 0 gives {score('marker', 'trained')} of a value's attention to its marker "
        f"({score('marker', 'initial')} before training), and one of layer 1 {score('retrieval', 'trained')} of the "
        f"query's to the queried value ({score('retrieval', 'initial')})"
    ) in page


def test_concentration(page: str) -> None:
    table = shipped("table4_explained_variance", trainable="embeddings")

    def shares(name: str, column: str) -> str:
        rows = table.filter(task=TASKS[name])
        return " / ".join(
            f"{100 * rows.filter(site=site)[column].median():.0f}" for site in rows["site"].unique(maintain_order=True)
        )

    for name in TASKS:
        after, before = (shares(name, f"share_principal_components{end}") for end in ("", "_untrained"))
        assert f"{name} {after} ({before})" in page


def test_two_embeddings_nearly_suffice(page: str) -> None:
    table = pl.read_csv(table_path("table2_subsets", SHIPPED / "random_transformers"), infer_schema_length=None)
    quick = table.filter(scale="quick", trainable="token_embedding+unembedding")
    sums = quick.filter(pl.col("task").str.starts_with("DecimalAddition("))["test_accuracy"]
    found = re.search(r"nearly suffice: ([\d.]+) % \(([\d.]+) to ([\d.]+)\) for sums of 2 digits", page)
    assert found is not None
    assert [float(number) for number in found.groups()] == pytest.approx(
        [100 * sums.median(), 100 * sums.min(), 100 * sums.max()], abs=0.051
    )
