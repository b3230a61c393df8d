"""Which rows of our tables bear on what the paper claims."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import polars as pl

from rtinterp.figures import style
from rtinterp.figures.comparison import Compare, Item
from rtinterp.figures.regime_style import regime_name
from rtinterp.papers.random_transformers import published
from rtinterp.papers.random_transformers.figure2_attention import ROLES, STATES
from rtinterp.papers.random_transformers.grid import RANDOM_AND_NORMAL
from rtinterp.papers.random_transformers.paper_sizes import at_paper_size
from rtinterp.papers.random_transformers.scales import MEMORIZATION_IN_CODE

RANDOM = pl.col("trainable") == "embeddings"
LAST_LAYER = pl.col("layer") == pl.col("n_layers") - 1
MEMORIZATION = pl.col("task").str.starts_with("Memorization(")
#: Tasks that are not the paper's whatever their size.
VARIANT = pl.col("task").str.contains("score_first_digit=True|short_strings='trained on'")
SHARE = "share_principal_components"


def of_widths(*widths: int) -> Callable[[pl.DataFrame], pl.Series]:
    """Tell rows of the paper's tasks and of models of these widths from others."""
    return lambda table: at_paper_size(table, widths)


def by_task(which: pl.Expr, column: str, *, is_accuracy: bool = False) -> Compare:
    """Pick shares in [0, 1] of every task, as percentages."""

    def evidence(table: pl.DataFrame) -> Iterator[Item]:
        chosen = table.filter(which & ~VARIANT)
        if not is_accuracy:
            chosen = chosen.with_columns(pl.col(column) * 100)
        for runs in chosen.partition_by("task", maintain_order=True):
            yield Item(style.task_title(runs["task"][0]).lower(), runs, column, is_accuracy=is_accuracy)

    return evidence


def accuracy_of_random(size: published.Size) -> Compare:
    """Pick random transformers of table 1."""
    which = RANDOM & (pl.col("body") == "transformer") & (pl.col("size") == size)
    return by_task(which, "test_accuracy", is_accuracy=True)


def failing_subsets() -> list[tuple[str, published.Trainable, str]]:
    """List what fails in the paper for want of embeddings that train: the task's class, what trains, and its name."""
    return [
        (kind.__name__, trainable, f"{style.task_title(kind.__name__).lower()}, {regime_name(trainable)}")
        for (kind, trainable), said in published.STATEMENTS.items()
        if said.value == published.FAILS
    ]


def some_embeddings(table: pl.DataFrame) -> Iterator[Item]:
    """Pick what fails in the paper for want of embeddings that train."""
    for kind, trainable, name in failing_subsets():
        which = pl.col("task").str.starts_with(f"{kind}(") & (pl.col("trainable") == trainable)
        for item in by_task(which, "test_accuracy", is_accuracy=True)(table):
            yield item._replace(quantity=name)


def heads(table: pl.DataFrame) -> Iterator[Item]:
    """Pick the two heads of figure 2, after and before training."""
    for role, meaning in ROLES.items():
        for state, when in STATES.items():
            runs = table.filter(pl.col("role") == role, pl.col("state") == state).unique("seed", maintain_order=True)
            yield Item(f"{meaning} {when}", runs, "score")


def best_circle(table: pl.DataFrame) -> Iterator[Item]:
    """Pick the best circle of every seed."""
    best = table.sort("r_squared", descending=True).unique("seed", keep="first", maintain_order=True)
    yield Item("best circle of each seed", best, "r_squared")


def circuit_measures(table: pl.DataFrame) -> Iterator[Item]:
    """Pick what tells a clock from a pizza."""
    runs = table.unique("seed", maintain_order=True)
    for column in published.CIRCUIT_MEASURES:
        yield Item(column.replace("_", " "), runs, column)


def last_layer(column: str) -> Compare:
    """Pick random transformers of the algorithmic tasks; memorization is another claim's."""
    return by_task(RANDOM & LAST_LAYER & ~MEMORIZATION, column)


def selected(table: pl.DataFrame) -> Iterator[Item]:
    """Pick what training adds to the share of ten components; nothing of tables that have no share before it."""
    before = f"{SHARE}_untrained"
    if before in table.columns:
        added = table.with_columns(added=pl.col(SHARE) - pl.col(before)).drop_nulls("added")
        yield from last_layer("added")(added)


def concentration(which: pl.Expr) -> Compare:
    """Pick the last layers of random and of fully trained models, in %."""
    return lambda table: random_and_normal(table.filter(which & LAST_LAYER).with_columns(pl.col(SHARE) * 100), SHARE)


def random_and_normal(table: pl.DataFrame, column: str, *, by: Sequence[str] = ()) -> Iterator[Item]:
    """Pick both kinds of model, for each combination of what some columns say."""
    for trainable in RANDOM_AND_NORMAL:
        of_kind = table.filter(pl.col("trainable") == trainable)
        for runs in of_kind.partition_by(by, maintain_order=True) if by else [of_kind]:
            where = "".join(f", {name} {runs[name][0]}" for name in by)
            yield Item(f"{regime_name(trainable)}{where}", runs, column)


def bits(table: pl.DataFrame) -> Iterator[Item]:
    """Pick models that memorize, trained as in the official code."""
    as_in_code = (pl.col(name) == value for name, value in MEMORIZATION_IN_CODE.items())
    return random_and_normal(table.filter(*as_in_code), "bits_per_parameter")


def imitation(table: pl.DataFrame) -> Iterator[Item]:
    """Pick the students of the narrowest and of the widest targets."""
    width = pl.col("target_d_model")
    ends = table.filter((width == width.min()) | (width == width.max()))
    for item in random_and_normal(ends, "test_kl", by=["target_d_model"]):
        yield item._replace(quantity=item.quantity.replace("target_d_model", "target of width"))


def language(table: pl.DataFrame) -> Iterator[Item]:
    """Pick the widest models, of the fewest layers."""
    widest = table.filter(pl.col("d_model") == pl.col("d_model").max())
    fewest = widest.filter(pl.col("n_layers") == pl.col("n_layers").min())
    return (item._replace(on_language=True) for item in random_and_normal(fewest, "test_loss"))
