"""What the paper claims, and which rows of our tables bear on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from rtinterp.figures import style
from rtinterp.figures.claims import Claim
from rtinterp.figures.comparison import Compare, Item
from rtinterp.figures.regime_style import regime_name
from rtinterp.papers.random_transformers.figure2_attention import ROLES, STATES
from rtinterp.papers.random_transformers.grid import RANDOM_AND_NORMAL
from rtinterp.papers.random_transformers.scales import MEMORIZATION_IN_CODE

PERCENT = "{:.1f}\N{NO-BREAK SPACE}%"
RANDOM = pl.col("trainable") == "embeddings"


def _by_task(which: pl.Expr, column: str) -> Compare:
    """Shares in [0, 1] of every task, as percentages."""

    def evidence(table: pl.DataFrame) -> Iterator[Item]:
        chosen = table.filter(which).with_columns(pl.col(column) * 100)
        for runs in chosen.partition_by("task", maintain_order=True):
            yield Item(_task(runs["task"][0]), runs, column)

    return evidence


def _task(task: str) -> str:
    """A task and its switches in words; its sizes stand in the row."""
    switches = [word for word in style.task_parameters(task).split(", ") if "=" not in word]
    return ", ".join([style.task_title(task).lower(), *filter(None, switches)])


def _random(size: str) -> pl.Expr:
    return RANDOM & (pl.col("body") == "transformer") & (pl.col("size") == size)


def _some_embeddings(table: pl.DataFrame) -> Iterator[Item]:
    for trainable in ("input_embeddings", "unembedding"):
        for item in _by_task(pl.col("trainable") == trainable, "test_accuracy")(table):
            yield item._replace(quantity=f"{item.quantity}, {regime_name(trainable)}")


def _heads(table: pl.DataFrame) -> Iterator[Item]:
    for role, meaning in ROLES.items():
        for state, when in STATES.items():
            runs = table.filter(pl.col("role") == role, pl.col("state") == state).unique("seed", maintain_order=True)
            yield Item(f"{meaning} {when}", runs, "score")


def _best_circle(table: pl.DataFrame) -> Iterator[Item]:
    best = table.sort("r_squared", descending=True).unique("seed", keep="first", maintain_order=True)
    yield Item("best circle of each seed", best, "r_squared")


def _last_layer(table: pl.DataFrame) -> Iterable[Item]:
    last = RANDOM & (pl.col("layer") == pl.col("n_layers") - 1)
    return _by_task(last, "share_principal_components")(table)


def _random_and_normal(table: pl.DataFrame, column: str, *, by: Sequence[str] = ()) -> Iterator[Item]:
    """Both kinds of model, for each combination of what some columns say."""
    for trainable in RANDOM_AND_NORMAL:
        of_kind = table.filter(pl.col("trainable") == trainable)
        for runs in of_kind.partition_by(by, maintain_order=True) if by else [of_kind]:
            where = "".join(f", {name} {runs[name][0]}" for name in by)
            yield Item(f"{regime_name(trainable)}{where}", runs, column)


def _bits(table: pl.DataFrame) -> Iterator[Item]:
    as_in_code = (pl.col(name) == value for name, value in MEMORIZATION_IN_CODE.items())
    return _random_and_normal(table.filter(*as_in_code), "bits_per_parameter")


def _imitation(table: pl.DataFrame) -> Iterator[Item]:
    width = pl.col("target_d_model")
    ends = table.filter((width == width.min()) | (width == width.max()))
    for item in _random_and_normal(ends, "test_kl", by=["target_d_model"]):
        yield item._replace(quantity=item.quantity.replace("target_d_model", "target of width"))


def _language(table: pl.DataFrame) -> Iterator[Item]:
    """The widest models, of the fewest layers."""
    widest = table.filter(pl.col("d_model") == pl.col("d_model").max())
    return _random_and_normal(widest.filter(pl.col("n_layers") == pl.col("n_layers").min()), "test_loss")


CLAIMS = (
    Claim(
        "Transformers of which only the embeddings are trained solve modular addition, needle in a haystack, decimal "
        "addition and parenthesis balancing.",
        "table1_accuracy",
        "Test accuracy of wide random transformers",
        _by_task(_random("wide"), "test_accuracy"),
        PERCENT,
    ),
    Claim(
        "They have to be wide for it.",
        "table1_accuracy",
        "Test accuracy of narrow random transformers",
        _by_task(_random("narrow"), "test_accuracy"),
        PERCENT,
    ),
    Claim(
        "Input embeddings and unembedding both have to be trained.",
        "table2_subsets",
        "Test accuracy of wide random transformers of which fewer embeddings are trained",
        _some_embeddings,
        PERCENT,
    ),
    Claim(
        "On needle in a haystack, a head of layer 0 links each value to its marker, and one of layer 1 "
        "finds the queried value.",
        "figure2_attention",
        "Mean attention weight",
        _heads,
        "{:.2f}",
    ),
    Claim(
        "The embeddings learnt for modular addition lie on circles.",
        "figure3_embeddings",
        "Share of the variance of two principal components that a circle explains (R²)",
        _best_circle,
        "{:.2f}",
    ),
    Claim(
        "Random transformers work in few directions of the residual stream.",
        "table4_explained_variance",
        "Variance in ten principal components after the last layer of wide random transformers",
        _last_layer,
        PERCENT,
    ),
    Claim(
        "Where nothing but memory helps, a random transformer stores several times fewer bits in each parameter that "
        "trains.",
        "table3_memorization",
        "Bits per trainable parameter",
        _bits,
        "{:.2f}",
    ),
    Claim(
        "Random transformers imitate narrow random circuits, and wide ones the worse the wider they are.",
        "figure6_imitation",
        "KL divergence from the target, in nats",
        _imitation,
        "{:.3f}",
    ),
    Claim(
        "As language models, random transformers are behind fully trained ones of their width.",
        "figure4_language_loss",
        "Test loss of the widest models, in nats per token",
        _language,
        "{:.2f}",
    ),
)
