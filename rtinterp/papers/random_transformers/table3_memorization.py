"""Table 3: how many bits a trainable parameter stores."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures import style
from rtinterp.figures.figure import Figure, run_columns, task_of
from rtinterp.figures.regime_style import regime_name
from rtinterp.papers.random_transformers import published
from rtinterp.papers.random_transformers.scales import MEMORIZATION_IN_CODE, MEMORIZATION_IN_TEXT
from rtinterp.papers.random_transformers.table6_parameters import n_trainable
from rtinterp.tasks import Memorization
from rtinterp.training.run import Run

HEADER = [
    "model", "pairs<br>recalled, %", "paper: pairs<br>recalled, %", "bits recalled", "trainable<br>parameters",
    "bits per trainable<br>parameter", "paper: bits per<br>parameter", "net of luck: bits,<br>per parameter",
]  # fmt: skip
WIDTHS = [1.9, 1.1, 1.0, 1.4, 1.0, 1.2, 1.1, 1.3]


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run; ``recall`` and ``chance`` are shares of the pairs.

    A model that knows K of N pairs and guesses the others recalls K + chance * (N - K) of them. The bits of these K are
    ``bits_net_of_luck``; ``bits_recalled`` counts lucky guesses too.
    The paper's numbers, which came from its code, stand beside runs that were trained as the code does it.
    """
    return pl.DataFrame(
        [{**run_columns(run), **hyper_parameters(run), **_recalled(run)} for run in runs],
        schema_overrides={"paper_recall": pl.Float64, "paper_bits_per_parameter": pl.Float64},
    )


def hyper_parameters(run: Run) -> dict[str, float]:
    """Return the columns in which the paper's text and its code differ."""
    return {name: getattr(run.spec.training, name) for name in MEMORIZATION_IN_CODE}


def _recalled(run: Run) -> dict[str, float | int | None]:
    """All pairs are tested, so accuracy is the share recalled; a label is one of ``n_keys``."""
    task, spec = task_of(run, Memorization), run.spec
    n_recalled = round(run.test_metric("accuracy") * task.n_keys**2)
    bits = math.log2(task.n_keys) * n_recalled
    chance, recall = task.floors()["chance"], n_recalled / task.n_keys**2
    n_parameters = n_trainable(task, spec.model, spec.trainable)
    as_in_code = hyper_parameters(run) == MEMORIZATION_IN_CODE
    paper_recall, paper_bits = published.recall(task, spec.trainable) if as_in_code else (None, None)
    return {
        "n_recalled": n_recalled,
        "recall": recall,
        "chance": chance,
        "bits_recalled": bits,
        "bits_net_of_luck": math.log2(task.n_keys) * task.n_keys**2 * max(0.0, recall - chance) / (1 - chance),
        "n_trainable": n_parameters,
        "bits_per_parameter": bits / n_parameters,
        "paper_recall": paper_recall,
        "paper_bits_per_parameter": paper_bits,
    }


def plot(table: pl.DataFrame) -> go.Figure:
    rows = list(map(_row, table.partition_by("d_model", "trainable", *MEMORIZATION_IN_CODE, maintain_order=True)))
    # The paper's numbers are of its own size alone; without a row of that size they have no columns.
    has_paper = table["paper_recall"].count() > 0
    shown = [has_paper or not heading.startswith("paper") for heading in HEADER]
    header, *cells = (list(itertools.compress(row, shown)) for row in (HEADER, *rows))
    figure = style.table_figure(header, cells, list(itertools.compress(WIDTHS, shown)))
    chance = " or ".join(f"{share:.1%}" for share in table["chance"].unique().sort())
    title = f"Table 3: memorization (guessing recalls {chance})"
    of_paper = "<br>paper: what it reports for 512 keys, width 128 and its own budget" if has_paper else ""
    return style.finish_table_with(figure, title, style.subtitle(table) + of_paper, width=1120 if has_paper else 900)


def _row(runs: pl.DataFrame) -> list[str]:
    paper_recall, paper_bits = (
        (runs[column].drop_nulls().to_list() or [None])[0] for column in ("paper_recall", "paper_bits_per_parameter")
    )
    d_model, rate, decay = (runs[column][0] for column in ("d_model", "learning_rate", "weight_decay"))
    sizes = style.small(f"width {d_model}, rate {rate:g}, decay {decay:g}") + style.standing(runs)
    return [
        regime_name(runs["trainable"][0]) + sizes,
        style.median_and_range(runs["recall"]),
        "" if paper_recall is None else f"{paper_recall * 100:g}",
        style.median_and_range_of(runs["bits_recalled"], ",.0f"),
        f"{runs['n_trainable'][0]:,}",
        style.median_and_range_of(runs["bits_per_parameter"], ".2f"),
        "" if paper_bits is None else f"{paper_bits:g}",
        _net_of_luck(runs),
    ]


def _net_of_luck(runs: pl.DataFrame) -> str:
    """Bits, and bits per parameter; tables of earlier drawings do not tell."""
    if "bits_net_of_luck" not in runs.columns or runs["bits_net_of_luck"].has_nulls():
        return ""
    bits = runs["bits_net_of_luck"]
    per_parameter = (bits / runs["n_trainable"]).median()
    return f"{bits.median():,.0f}" + style.small(f"{per_parameter:.2f} per parameter")


FIGURE = Figure(
    name="table3_memorization",
    title="Table 3: memorization",
    caption=(
        "Random labels for pairs of keys, recalled after training on all of them. Compare the bits for each parameter "
        "that trains: in the paper a fully trained transformer stores several times as many as a random one, of which "
        "only the embeddings are trained. A recalled pair counts log<sub>2</sub>(number of labels) bits, lucky guesses "
        "included; <i>net of luck</i> counts the pairs that a model must know if it guesses all others, each rightly "
        "with the chance in the title. The official code trains with a learning rate of {learning_rate:g} and a weight "
        "decay of {weight_decay:g}, and the paper's numbers stand beside ours of these; ".format(**MEMORIZATION_IN_CODE)
        + "the paper's text has {learning_rate:g} and {weight_decay:g}. ".format(**MEMORIZATION_IN_TEXT)
        + "Median over seeds, minimum to maximum below."
    ),
    experiment="memorization",
    compute=compute,
    plot=plot,
    rows=("trainable", *MEMORIZATION_IN_CODE),
    hyper_parameters=tuple(MEMORIZATION_IN_CODE),
)
