"""Training that starts from given tensors: how many steps embeddings save that were trained elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from rtinterp.analysis.predictions import accuracy
from rtinterp.models.build import hooked_model
from rtinterp.tasks import Batch
from rtinterp.training.engine import Engine
from rtinterp.training.spec import RunSpec


@torch.enable_grad()
def accuracies_from(
    spec: RunSpec, start: Mapping[str, Float[Tensor, "*shape"]], batch: Batch, level: float, steps_between: int = 10
) -> pl.DataFrame:
    """Train a spec from given tensors in the place of some that it would draw, until an accuracy is reached.

    All else is as the spec says: the body, the sequences, the optimiser, which starts anew, and the learning rates of
    every step. The same spec, tensors and batch give the same table.

    Args:
        start: by name, in place of what trains; an empty one is the spec's own training.
        batch: sequences that accuracy is measured on.
        level: the accuracy at which training ends, in [0, 1].
        steps_between: steps from one measurement to the next.

    Returns:
        columns ``step`` (0 is before the first) and ``accuracy``; the last row is the first measurement that reaches
        the level, or the end of the spec's training.

    Raises:
        ValueError: the spec does not train a tensor of such a name and shape, or fewer than one step between.
    """
    if steps_between < 1:
        raise ValueError(f"steps_between is {steps_between}; pass 1 or more")
    engine = _engine_from(spec, start)
    model = hooked_model(spec.task, spec.model, _tensors(engine))
    rows = [(0, accuracy(model, batch))]
    while rows[-1][1] < level and engine.n_steps_done < spec.training.n_steps:
        for _ in range(min(steps_between, spec.training.n_steps - engine.n_steps_done)):
            engine.step()
        model.load_state_dict(_tensors(engine), strict=False)
        rows.append((engine.n_steps_done, accuracy(model, batch)))
    return pl.DataFrame(rows, schema={"step": pl.Int64, "accuracy": pl.Float64}, orient="row")


def step_of(curve: pl.DataFrame, level: float) -> int | None:
    """Find the first measured step at which an accuracy is reached; None if it never is."""
    reached = curve.filter(pl.col("accuracy") >= level)["step"]
    return None if reached.is_empty() else int(reached[0])


def _engine_from(spec: RunSpec, start: Mapping[str, Float[Tensor, "*shape"]]) -> Engine:
    engine = Engine([spec], torch.device("cpu"))
    for name, tensor in start.items():
        if name not in engine.trained:
            raise ValueError(f"{spec.run_id} does not train {name!r}; it trains {', '.join(engine.trained)}")
        own = engine.parameters[name]
        if tensor.shape != own.shape[1:]:
            raise ValueError(f"{name} is of shape {list(own.shape[1:])} there; got {list(tensor.shape)}")
        own.detach().copy_(tensor[None])
    return engine


def _tensors(engine: Engine) -> dict[str, Tensor]:
    with torch.no_grad():
        made = engine.spec.model_tensors(engine.parameters)
        return {name: tensor[0].detach().clone() for name, tensor in made.items()}
