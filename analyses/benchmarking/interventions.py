"""What interventions cost: projecting at a site, and running all subsets of the nodes, against plain forward passes."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from rtinterp import ModelSpec
from rtinterp.analysis import (
    accuracy,
    intervene,
    mean_ablation,
    nodes_of,
    project,
    random_subspace,
    residual_sites,
    subset_values,
)
from rtinterp.models.build import build_model
from rtinterp.tasks import Batch, DecimalAddition, ModularAddition, NeedleInAHaystack, ParenthesisBalancing
from rtinterp.tasks.causal_task import CausalTask

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel


@dataclasses.dataclass(frozen=True)
class InterventionCase:
    """A task, a width, and how many of its test sequences run at once."""

    task: CausalTask
    d_model: int
    n_sequences: int = 256

    def model(self) -> HookedModel:
        return build_model(self.task, ModelSpec(self.d_model), seed=0)

    def batch(self) -> Batch:
        return self.task.test_set()[: self.n_sequences]


#: The quick sizes of the four tasks; the first alone if quick.
INTERVENTION_CASES = (
    InterventionCase(NeedleInAHaystack(max_pairs=4, n_values=16), 384),
    InterventionCase(ModularAddition(p=79), 512),
    InterventionCase(DecimalAddition(n_digits=2), 256),
    InterventionCase(ParenthesisBalancing(max_pairs=10), 128),
)


def time_projections(case: InterventionCase, n_turns: int) -> list[dict[str, object]]:
    """A row per site: accuracy with half of the directions kept there, against accuracy without."""
    model, batch = case.model(), case.batch()
    subspace = random_subspace(case.d_model // 2, torch.zeros(case.d_model), torch.Generator().manual_seed(0))

    def projected(site: str) -> float:
        with intervene(model, project(site, subspace)):
            return accuracy(model, batch)

    return [
        _row(case, f"projection at {site}", lambda site=site: projected(site), lambda: accuracy(model, batch), n_turns)
        for site in residual_sites(model)
    ]


def time_subsets(case: InterventionCase, n_turns: int) -> dict[str, object]:
    """All subsets of the heads and MLPs, against as many forward passes, of which one is timed."""
    model, batch = case.model(), case.batch()
    ablation = mean_ablation(model, [batch.tokens], case.task.roles, len(case.task.role_names))
    n_subsets = 2 ** len(nodes_of(model))
    name = f"all {n_subsets:,} subsets of the nodes"
    return _row(case, name, lambda: subset_values(model, batch, ablation), lambda: accuracy(model, batch), n_turns) | {
        "n_passes_replaced": n_subsets
    }


def _row(
    case: InterventionCase, what: str, ours: Callable[[], object], plain: Callable[[], object], n_turns: int
) -> dict[str, object]:
    """The two take turns, after one of each to warm up; a ratio is that of neighbours."""
    for call in (ours, plain):
        call()
    pairs = [(_seconds(ours), _seconds(plain)) for _ in range(n_turns)]
    ratios = [own / other for own, other in pairs]
    return {
        "task": repr(case.task),
        "d_model": case.d_model,
        "n_sequences": case.n_sequences,
        "what": what,
        "milliseconds": statistics.median(own for own, _ in pairs) * 1e3,
        "milliseconds_of_a_forward_pass": statistics.median(other for _, other in pairs) * 1e3,
        "forward_passes": statistics.median(ratios),
        "forward_passes_min": min(ratios),
        "forward_passes_max": max(ratios),
        "n_passes_replaced": 1,
        "n_turns": n_turns,
        "n_threads": torch.get_num_threads(),
    }


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
