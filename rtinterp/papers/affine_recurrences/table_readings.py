"""Each claim of the abstract, in each reading, seed by seed: reproduced or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import polars as pl
import torch

from rtinterp.analysis import head_table, layer_estimates, share_explained
from rtinterp.figures import style
from rtinterp.figures.figure import Figure, with_run_columns
from rtinterp.papers.affine_recurrences.opened_models import FIRST_POSITION, N_ROWS, OUR_DESIGN
from rtinterp.papers.affine_recurrences.readings import (
    COPIES,
    COPYING_LAYER,
    LOOKS_AT,
    LOOKS_AWAY,
    LOOKS_BACK,
    REFINING_LAYER,
    TIMES_BELOW_COPYING,
)
from rtinterp.tasks import Batch
from rtinterp.training.run import Run

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: Lines of the table for what is too long for its cell.
N_WRAPPED_LINES = 2
#: By name: the claim in this reading, and what is measured.
READINGS = {
    "learnt": (
        "The recurrence is learnt.",
        f"copying's mean squared error over the model's, from the third term on: at least {TIMES_BELOW_COPYING:g}",
    ),
    "copying: estimate": (
        f"Layer {COPYING_LAYER} forms an initial estimate by copying (C1).",
        f"R<sup>2</sup> of its estimate on the last two terms: above {COPIES}",
    ),
    "copying: pairs": (
        f"Layer {COPYING_LAYER} copies the term before beside each term (C2).",
        f"largest mean attention of its heads on the position before: above {LOOKS_BACK}",
    ),
    "negative: looks away": (
        f"A head of layer {REFINING_LAYER} looks away from similar terms (N1).",
        f"least correlation of its heads' scores with similarity: below {LOOKS_AWAY}",
    ),
    "negative: writes opposite": (
        f"A head of layer {REFINING_LAYER} looks at similar terms and writes their opposite (N2).",
        f"least gain among its heads whose correlation is above {LOOKS_AT}: below 0",
    ),
}


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, reading and state (trained or not): the measure, null where no head qualifies, and whether
    the reading ``holds``."""
    return pl.concat(with_run_columns(run, _readings(run)) for run in runs)


def _readings(run: Run) -> pl.DataFrame:
    batch = run.spec.task.test_set()[:N_ROWS]
    rows = []
    for state, model in (("trained", run.model), ("untrained", run.initial_model)):
        for reading, (value, holds) in measure(model, batch).items():
            rows.append({"state": state, "reading": reading, "value": value, "holds": holds})
    schema = {"state": pl.String, "reading": pl.String, "value": pl.Float64, "holds": pl.Boolean}
    return pl.DataFrame(rows, schema=schema).with_columns(n_test_rows=pl.lit(N_ROWS))


def measure(model: HookedModel, batch: Batch) -> dict[str, tuple[float | None, bool]]:
    """Measure each reading of a model on a batch, and tell whether it holds."""
    assert batch.targets is not None
    estimates = layer_estimates(model, batch.tokens)
    errors = [(one - batch.targets)[:, FIRST_POSITION:].square().mean().item() for one in (batch.tokens, estimates[-1])]
    now, before = batch.tokens[:, FIRST_POSITION:], batch.tokens[:, FIRST_POSITION - 1 : -1]
    # The first estimate is the embeddings'.
    of_layer = estimates[COPYING_LAYER + 1][:, FIRST_POSITION:].flatten(0, 1)
    copied = share_explained(of_layer, torch.cat([now, before], dim=-1).flatten(0, 1)).item()
    heads = head_table(model, batch.tokens, FIRST_POSITION)
    copying, refining = (heads.filter(pl.col("layer") == layer) for layer in (COPYING_LAYER, REFINING_LAYER))
    looks_back = max(copying["previous_weight"].to_list())
    looks_away = min(refining["similarity_correlation"].to_list())
    opposite = min(refining.filter(pl.col("similarity_correlation") > LOOKS_AT)["gain"].to_list(), default=None)
    return {
        "learnt": (errors[0] / errors[1], errors[0] >= TIMES_BELOW_COPYING * errors[1]),
        "copying: estimate": (copied, copied > COPIES),
        "copying: pairs": (looks_back, looks_back > LOOKS_BACK),
        "negative: looks away": (looks_away, looks_away < LOOKS_AWAY),
        "negative: writes opposite": (opposite, opposite is not None and opposite < 0),
    }


def plot(table: pl.DataFrame) -> go.Figure:
    budgets = table["n_steps"].unique().sort().to_list()
    header = ["claim, in a reading", "measure", "before training", *(f"after {n_steps:,} steps" for n_steps in budgets)]
    rows = []
    for reading, (claim, measured) in READINGS.items():
        of_reading = table.filter(pl.col("reading") == reading).sort("seed")
        trained = of_reading.filter(pl.col("state") == "trained")
        before = of_reading.filter(pl.col("state") == "untrained", pl.col("n_steps") == budgets[0])
        after = [_verdict(trained.filter(pl.col("n_steps") == n_steps)) for n_steps in budgets]
        rows.append([claim, measured, _numbers(before), *after])
    figure = style.table_figure(header, rows, [3, 3.2, 1.2, *(1.6 for _ in budgets)])
    return style.finish_table(
        figure, "What the abstract claims, reading by reading", table, width=1180, n_wrapped_lines=N_WRAPPED_LINES
    )


def _verdict(rows: pl.DataFrame) -> str:
    n_held = int(rows["holds"].sum())
    verdict = "yes" if n_held == len(rows) else "no" if n_held == 0 else "in part"
    return f"{verdict}, {n_held} of {len(rows)}<br>({_numbers(rows)})"


def _numbers(rows: pl.DataFrame) -> str:
    return ", ".join(map(_number, rows["value"]))


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


FIGURE = Figure(
    name="table_readings",
    title="What the abstract claims, reading by reading",
    caption=(
        "The abstract's claims in the readings that its words allow, measured on test sequences of every seed, and on "
        "the same models before training: whether it is reproduced, in how many seeds, and the measure in each. Models "
        "that train for longer are others, whose rate falls over as many steps. Thresholds are ours and were set "
        "before any model was trained." + OUR_DESIGN
    ),
    experiment="budgets",
    compute=compute,
    plot=plot,
)
