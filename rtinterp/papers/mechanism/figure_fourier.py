"""When does a model come to add modulo p by few frequencies? Restricted and excluded loss over training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import polars as pl
import torch
from jaxtyping import Bool, Float, Float64
from plotly.subplots import make_subplots
from torch import Tensor

from rtinterp.analysis import (
    distance_irrelevance,
    frequency_loss_table,
    gradient_symmetricity,
    key_frequencies,
    logits_of_all_pairs,
    models_of,
    over_steps,
    sum_frequency_power,
)
from rtinterp.figures import style
from rtinterp.figures.curves import FLOOR_LABEL
from rtinterp.figures.figure import Figure, task_of, with_run_columns
from rtinterp.papers.mechanism.grid import N_BODIES
from rtinterp.plot.look import COLOURS, axes
from rtinterp.tasks import ModularAddition
from rtinterp.training.run import Run

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: A frequency is key if it has at least this share of the variance of the trained model's logits.
KEY_SHARE = 0.01
N_CONTROLS, CONTROLS_SEED = 5, 0
#: Kept steps before this share of the training are left out, but for its start: nobody adds yet.
EARLIEST = 0.19
TRIPLES_SEED = 0
PAIRS = {"test": "pairs never trained on", "train": "training pairs"}
#: What is drawn: kind of logits and frequencies, name, colour and dash.
CURVES: dict[tuple[str, str], tuple[str, str, str]] = {
    ("all", "none"): ("the model", COLOURS[6], "solid"),
    ("restricted", "key"): ("key frequencies only", COLOURS[0], "solid"),
    ("excluded", "key"): ("without key frequencies", COLOURS[1], "solid"),
    ("restricted", "control"): ("as many others only", COLOURS[0], "dot"),
    ("excluded", "control"): ("without as many others", COLOURS[1], "dot"),
}
#: Smaller losses are drawn as this one, which its tick says, at this share of a decade above the edge.
LEAST_LOSS, BELOW = 1e-3, 0.1
#: Key frequencies of a seed that are told one by one.
MOST_NAMED = 4


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, step, pairs, kind of logits and draw of controls: the loss, in nats.

    Steps are the first one and kept ones from a fifth of the training on; the last one of a run that kept none.
    ``key_frequencies`` are those of the trained model, the same at all steps; ``key_power`` is the share of the logits'
    variance over pairs that they have at this step, ``sum_power`` that of all frequencies of a + b together.
    ``gradient_symmetricity`` (of 100 triples) and ``distance_irrelevance`` are those of the model at this step.
    """
    return pl.concat(with_run_columns(run, _losses(run)) for run in runs)


def _losses(run: Run) -> pl.DataFrame:
    task = task_of(run, ModularAddition)
    tested = torch.zeros(task.p, task.p, dtype=torch.bool)
    tested[tuple(task.test_set().tokens[:, :2].T)] = True
    pairs = {"test": tested, "train": ~tested}
    trained = logits_of_all_pairs(run.model, task)
    keys = keys_of(trained)
    named = pl.lit(" ".join(map(str, keys))).alias("key_frequencies")

    def measure(model: HookedModel) -> pl.DataFrame:
        logits = trained if model is run.model else logits_of_all_pairs(model, task)
        like = {
            "gradient_symmetricity": gradient_symmetricity(model, task, torch.Generator().manual_seed(TRIPLES_SEED)),
            "distance_irrelevance": distance_irrelevance(correct(logits)),
        }
        return _losses_of(logits, keys, pairs).with_columns(**{name: pl.lit(value) for name, value in like.items()})

    earliest = EARLIEST * run.last_step
    kept = models_of(run) if run.kept_steps else [(run.last_step, run.model)]
    models = ((step, model) for step, model in kept if step == 0 or step >= earliest)
    return over_steps(models, measure).with_columns(named)


def correct(logits: Float[Tensor, "a b c"]) -> Float[Tensor, "a b"]:
    """Take the logit of the right sum of every pair."""
    a = torch.arange(len(logits))
    return logits.gather(2, ((a[:, None] + a) % len(a))[..., None])[..., 0]


def keys_of(logits: Float[Tensor, "a b c"]) -> list[int]:
    """Find the frequencies that have a share of the variance: one at least, and never more than leaves as many."""
    n_with_share = int((sum_frequency_power(logits) >= KEY_SHARE).sum())
    return key_frequencies(logits, min(max(1, n_with_share), (len(logits) // 2) // 2))


def _losses_of(
    logits: Float[Tensor, "a b c"], keys: Sequence[int], pairs: dict[str, Bool[Tensor, "a b"]]
) -> pl.DataFrame:
    power: Float64[Tensor, " frequency"] = sum_frequency_power(logits)
    shares = {"key_power": power[[k - 1 for k in keys]].sum().item(), "sum_power": power.sum().item()}
    tables = []
    for name, chosen in pairs.items():
        generator = torch.Generator().manual_seed(CONTROLS_SEED)
        losses = frequency_loss_table(logits, keys, generator, N_CONTROLS, chosen)
        tables.append(losses.select(pl.lit(name).alias("pairs"), pl.all()))
    return pl.concat(tables).with_columns(**{name: pl.lit(share) for name, share in shares.items()})


def plot(table: pl.DataFrame) -> go.Figure:
    models = table.select("body", "d_model", "trainable").unique(maintain_order=True).rows()
    titles = [
        f"{style.model_name(body, trainable)}, width {d_model}: {PAIRS[pairs]}"
        + style.small(_keys(table.filter(pl.col("trainable") == trainable, pl.col("d_model") == d_model)))
        for body, d_model, trainable in models
        for pairs in PAIRS
    ]
    figure = make_subplots(
        len(models), len(PAIRS), subplot_titles=titles, horizontal_spacing=0.08, vertical_spacing=0.42 / len(models),
        shared_yaxes=True,
    )  # fmt: skip
    for row, (_, d_model, trainable) in enumerate(models, 1):
        of_model = table.filter(pl.col("trainable") == trainable, pl.col("d_model") == d_model)
        add = _add_panel if of_model["step"].n_unique() > 1 else _add_ends
        for column, pairs in enumerate(PAIRS, 1):
            add(figure, of_model.filter(pl.col("pairs") == pairs), row, column)
    most = max(1.0, *table["loss"])
    lowest = math.log10(LEAST_LOSS)
    decades = [10.0**power for power in range(round(lowest), math.ceil(math.log10(most)) + 1)]
    is_cut = min(table["loss"]) < LEAST_LOSS
    ticks = {
        "tickvals": decades,
        "ticktext": ["≤ " * (is_cut and loss == LEAST_LOSS) + f"{loss:g}" for loss in decades],
    }
    axes(figure).update_yaxes(type="log", range=[lowest - BELOW, math.log10(most) + BELOW], **ticks)
    figure.update_yaxes(title_text="loss (nats)", col=1)
    figure.update_annotations(font_size=12)
    figure.update_layout(legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.24 / len(models)})
    title = "When sums modulo p come to be added by few frequencies"
    return style.finish(figure, title, table, width=900, height=335 * len(models)).update_layout(margin_b=110)


def _keys(table: pl.DataFrame) -> str:
    """``"key frequencies: 22 37 19; 21 24"``, or how many where they are many, by seed; then medians."""
    last = table.filter(pl.col("step") == pl.col("step").max()).unique("seed").sort("seed")
    like = (last[name].median() for name in ("gradient_symmetricity", "distance_irrelevance"))
    symmetricity, irrelevance = (f"{value:.2f}" for value in like)
    keys = last["key_frequencies"].cast(pl.String).to_list()
    few = max(len(of_seed.split()) for of_seed in keys) <= MOST_NAMED
    numbers = ", ".join(str(len(of_seed.split())) for of_seed in keys)
    named = f"key frequencies: {'; '.join(keys)}" if few else f"{numbers} key frequencies"
    return named + style.small(f"symmetricity {symmetricity}, irrelevance {irrelevance}")


def _add_panel(figure: go.Figure, table: pl.DataFrame, row: int, column: int) -> None:
    """Losses over training: the step before the first has no place on the axis."""
    place: dict[str, Any] = {"row": row, "col": column}
    for (logits, frequencies), (name, colour, dash) in CURVES.items():
        chosen = table.filter(pl.col("logits") == logits, pl.col("frequencies") == frequencies, pl.col("step") > 0)
        of_seeds = chosen.group_by("seed", "step", maintain_order=True).agg(pl.col("loss").mean())
        medians = of_seeds.group_by("step").agg(pl.col("loss").median()).sort("step")
        for seed in of_seeds["seed"].unique(maintain_order=True):
            of_seed = of_seeds.filter(pl.col("seed") == seed)
            figure.add_scatter(
                x=of_seed["step"].to_list(), y=of_seed["loss"].clip(LEAST_LOSS).to_list(), mode="lines", name=name,
                legendgroup=name, showlegend=False, opacity=0.3, line={"color": colour, "width": 1, "dash": dash},
                **place,
            )  # fmt: skip
        figure.add_scatter(
            x=medians["step"].to_list(), y=medians["loss"].clip(LEAST_LOSS).to_list(), mode="lines+markers", name=name,
            legendgroup=name, showlegend=(row, column) == (1, 1), line={"color": colour, "width": 2, "dash": dash},
            marker={"size": 4}, **place,
        )  # fmt: skip
    figure.update_xaxes(type="log", title_text="step", **place)
    _add_guessing(figure, table, place, x=1)


def _add_ends(figure: go.Figure, table: pl.DataFrame, row: int, column: int) -> None:
    """Losses of models that kept nothing but their end, by seed."""
    place: dict[str, Any] = {"row": row, "col": column}
    for (logits, frequencies), (name, colour, dash) in CURVES.items():
        chosen = table.filter(pl.col("logits") == logits, pl.col("frequencies") == frequencies)
        of_seeds = chosen.group_by("seed").agg(pl.col("loss").mean()).sort("seed")
        figure.add_scatter(
            x=[f"seed {seed}" for seed in of_seeds["seed"]], y=of_seeds["loss"].clip(LEAST_LOSS).to_list(), name=name,
            mode="markers", legendgroup=name, showlegend=False, **place,
            marker={"color": colour, "size": 9, "symbol": "circle" if dash == "solid" else "circle-open"},
        )  # fmt: skip
    title = f"at the end, after {table['step'][0]:,} steps (open: as many others)"
    figure.update_xaxes(type="category", title_text=title, **place)
    _add_guessing(figure, table, place, x=0.35)


def _add_guessing(figure: go.Figure, table: pl.DataFrame, place: dict[str, Any], x: float) -> None:
    guessing = math.log(int(table["task"][0].split("p=")[1].split(")")[0].split(",")[0]))
    figure.add_hline(y=guessing, line={"color": style.FLOOR_COLOUR, "dash": "dash", "width": 1}, **place)
    figure.add_annotation(
        x=x, xref="x domain", y=math.log10(guessing), yanchor="top", xanchor="right", text="guessing",
        showarrow=False, font=FLOOR_LABEL, **place,
    )  # fmt: skip


FIGURE = Figure(
    name="figure_fourier",
    title="When sums modulo p come to be added by few frequencies",
    caption=(
        "Claim tested: a random transformer adds modulo p by a few frequencies of a + b. Found at the quick scale: "
        "yes, by two or three. The waves of its key frequencies, those with 1 % or more of the variance of the trained "
        "model's logits, are enough by themselves; without them the loss is above that of guessing, also on training "
        "pairs; as many other frequencies, drawn at random as a control, are worth nothing, and are not missed. "
        "Fully trained models of the same width, of which the end alone was kept, add by 4 to 12 frequencies, those "
        "of half the width by 11 to 16; without these some do better than guessing. Thin lines: seeds, thick: medians; "
        f"the step before the first is left out. Losses below {LEAST_LOSS:g} nats are drawn at the tick that says so, "
        "≤ 0.001; the csv has them. Gradient symmetricity and distance irrelevance are medians of the "
        "trained models: a clock has 0.33 and 0.85, a pizza 0.99 and 0.17 (figure 3)."
    ),
    experiment="frequencies",
    compute=compute,
    plot=plot,
    n_bodies=N_BODIES,
)
