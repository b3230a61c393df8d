"""What is lost without a part of the model, and what a part carries of the recurrence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import polars as pl
import torch
from jaxtyping import Float
from plotly.subplots import make_subplots
from torch import Tensor

from rtinterp.analysis import (
    Node,
    intervene,
    means_by_role,
    nodes_of,
    replace,
    replace_by_role,
    squared_errors,
)
from rtinterp.figures import style
from rtinterp.figures.curves import FLOOR_LABEL
from rtinterp.figures.figure import Figure, with_run_columns
from rtinterp.papers.affine_recurrences.opened_models import FIRST_POSITION, N_ROWS, OUR_DESIGN
from rtinterp.plot.look import COLOURS, axes
from rtinterp.tasks import AffineRecurrence, Batch, Counterfactuals
from rtinterp.training.run import Run

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

SEED = 0
ABLATIONS = {"mean": "mean of the position", "resample": "another sequence's"}
VARIABLES = {"matrix": "a", "offset": "b"}


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, part (a head, an MLP, or a whole layer) and what is done to it.

    ``effect`` is ``mean`` or ``resample``, and ``value`` the mean squared error on test sequences, from the third term
    on; ``intact`` and ``copying`` beside it. Or ``effect`` is ``patch matrix`` or ``patch offset``: of pairs that
    differ in this variable, what the part writes on the source is put in the base's place, and ``value`` is the share
    of the way from what was expected to what the source's variable entails: 0 where nothing changes, 1 if all does.
    """
    return pl.concat(with_run_columns(run, _parts(run)) for run in runs)


def _parts(run: Run) -> pl.DataFrame:
    model, task = run.model, run.spec.task
    if not isinstance(task, AffineRecurrence):
        raise TypeError(f"{run.spec.run_id} is not a run of AffineRecurrence")
    generator = torch.Generator().manual_seed(SEED)
    training, batch = task.sample(N_ROWS, generator), task.test_set()[:N_ROWS]
    others = batch.tokens[torch.randperm(len(batch), generator=generator)]
    assert batch.targets is not None
    base = {"intact": _error(model, batch), "copying": _mean(squared_errors(batch.tokens, batch.targets))}
    parts = _named_parts(model)
    means = {
        site: means_by_role(at, task.roles(training.tokens), len(task.role_names))
        for site, at in _writes(model, training.tokens).items()
    }
    resampled = _writes(model, others)
    rows = []
    for part, nodes in parts.items():
        ablations = {
            "mean": [
                replace_by_role(_site(node), means[_site(node)], task.roles, heads=_heads(node)) for node in nodes
            ],
            "resample": [replace(_site(node), resampled[_site(node)], heads=_heads(node)) for node in nodes],
        }
        for effect, interventions in ablations.items():
            with intervene(model, *interventions):
                rows.append({"part": part, "effect": effect, "value": _error(model, batch)})
    for variable in VARIABLES:
        ways = _ways(model, task.counterfactuals(N_ROWS, variable, generator), parts)
        rows += [{"part": part, "effect": f"patch {variable}", "value": way} for part, way in ways.items()]
    return pl.DataFrame(rows).with_columns(
        n_test_rows=pl.lit(N_ROWS), **{name: pl.lit(error) for name, error in base.items()}
    )


def _named_parts(model: HookedModel) -> dict[str, list[Node]]:
    """Every head and MLP, then every layer."""
    nodes = nodes_of(model)
    layers = {f"layer {layer}": [node for node in nodes if node.layer == layer] for layer in range(model.cfg.n_layers)}
    return {str(node): [node] for node in nodes} | layers


def _site(node: Node) -> str:
    return f"blocks.{node.layer}." + ("hook_mlp_out" if node.head is None else "attn.hook_z")


def _heads(node: Node) -> tuple[int, ...] | None:
    return None if node.head is None else (node.head,)


@torch.no_grad()
def _writes(
    model: HookedModel, tokens: Float[Tensor, "batch pos dimension"]
) -> dict[str, Float[Tensor, "batch pos ..."]]:
    """The activations at the sites of all parts."""
    sites = dict.fromkeys(map(_site, nodes_of(model)))
    _, cache = model.run_with_cache(tokens, names_filter=list(sites))
    return {site: cache[site] for site in sites}


def _outputs(model: HookedModel, batch: Batch) -> Float[Tensor, "batch pos dimension"]:
    with torch.no_grad():
        return model(batch.tokens)


def _error(model: HookedModel, batch: Batch) -> float:
    assert batch.targets is not None
    return _mean(squared_errors(_outputs(model, batch), batch.targets))


def _mean(errors: Float[Tensor, " pos"]) -> float:
    return errors[FIRST_POSITION:].mean().item()


def _ways(model: HookedModel, pairs: Counterfactuals, parts: Mapping[str, Sequence[Node]]) -> dict[str, float]:
    """For each part, the slope of how far predictions go, once it is the source's, against how far they are to go."""
    entailed, factual = pairs.base, pairs.factual
    assert entailed.targets is not None
    assert factual.targets is not None
    to_go = (entailed.targets - factual.targets)[:, FIRST_POSITION:].double()
    unmoved, of_source = _outputs(model, entailed), _writes(model, pairs.sources)
    ways: dict[str, float] = {}
    for part, nodes in parts.items():
        with intervene(model, *(replace(_site(node), of_source[_site(node)], heads=_heads(node)) for node in nodes)):
            gone = (_outputs(model, entailed) - unmoved)[:, FIRST_POSITION:].double()
        ways[part] = ((gone * to_go).sum() / to_go.square().sum()).item()
    return ways


def plot(table: pl.DataFrame) -> go.Figure:
    parts = table["part"].unique(maintain_order=True).to_list()
    titles = ["error without a part", "what a part carries of a and b"]
    figure = make_subplots(1, 2, subplot_titles=titles, horizontal_spacing=0.1)
    looks = {"mean": COLOURS[0], "resample": COLOURS[1], "patch matrix": COLOURS[2], "patch offset": COLOURS[3]}
    for effect, colour in looks.items():
        column = 1 if effect in ABLATIONS else 2
        of_effect = table.filter(pl.col("effect") == effect)
        variable = VARIABLES.get(effect.removeprefix("patch "), "")
        name = ABLATIONS.get(effect) or f"a source's, that differs in {variable}"
        figure.add_scatter(
            x=of_effect["part"].to_list(), y=of_effect["value"].to_list(), mode="markers", name=name,
            marker={"color": colour, "size": 8, "opacity": 0.7}, row=1, col=column,
        )  # fmt: skip
    left: dict[str, Any] = {"row": 1, "col": 1}
    for label in ("intact", "copying"):
        height = float(table[label].to_numpy().mean())
        figure.add_hline(y=height, line={"color": style.FLOOR_COLOUR, "dash": "dot"}, **left)
        figure.add_annotation(
            x=1, xref="x domain", y=math.log10(height), yref="y", text=label, showarrow=False, xanchor="right",
            yanchor="bottom", font=FLOOR_LABEL,
        )  # fmt: skip
    axes(figure).update_xaxes(categoryorder="array", categoryarray=parts, tickangle=-60)
    figure.update_yaxes(type="log", dtick=1, title_text="mean squared error", exponentformat="power", row=1, col=1)
    figure.update_yaxes(title_text="share of the way", row=1, col=2)
    return style.finish(figure, "What is lost without a part, and what it carries", table, width=1080, height=400)


FIGURE = Figure(
    name="figure_ablated_parts",
    title="What is lost without a part, and what it carries",
    caption=(
        "Left: the error on test sequences once what a head, an MLP or a whole layer writes is replaced, at all "
        "positions, by its mean at the position on training sequences, or by what it writes on another test sequence. "
        "Right: pairs of sequences that begin alike and differ in a or in b alone; what a part writes on the one is "
        "put in its place on the other, and shown is how far predictions then go of the way to what the other's "
        "coefficient entails. If layer 0 copies and layer 2 refines, errors without layer 2 should be near copying's. "
        "Points are seeds." + OUR_DESIGN
    ),
    experiment="opened",
    compute=compute,
    plot=plot,
)
