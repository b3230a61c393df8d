"""What runs cost is counted."""

from __future__ import annotations

import pytest
from torch.utils.flop_counter import FlopCounterMode
from training_references import CPU, TASKS, small_run

from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.regimes import Trainable
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import DecimalAddition, ModularAddition, NeedleInAHaystack, Task
from rtinterp.training.cost import Cost, cost
from rtinterp.training.engine import Engine
from rtinterp.training.flops import step_flops
from rtinterp.training.spec import RunSpec, TrainSpec


def flops_executed(spec: RunSpec) -> float:
    """Of the matrix products and attention of one step, as torch counts them."""
    engine = Engine([spec], CPU)
    with FlopCounterMode(display=False) as counter:
        engine.step()
    return counter.get_total_flops()


@pytest.mark.parametrize("trainable", ["embeddings", "all", "unembedding", "input_embeddings"])
@pytest.mark.parametrize("body", [ModelSpec(64), ModelSpec(64, n_layers=4)], ids=str)
@pytest.mark.parametrize(
    "task", [NeedleInAHaystack(max_pairs=8, n_values=32), DecimalAddition(n_digits=4), ModularAddition(p=31)], ids=str
)
def test_step_flops_are_what_the_engine_executes(task: Task, body: ModelSpec, trainable: Trainable) -> None:
    spec = RunSpec(task, body, TrainSpec(n_steps=1, batch_size=200), trainable)
    assert step_flops(spec) == pytest.approx(flops_executed(spec), rel=0.25)


def test_step_flops_of_a_recurrent_body_grow_with_its_matrices() -> None:
    narrow, wide = (
        step_flops(RunSpec(TASKS[1], RecurrentSpec(d_model), TrainSpec(n_steps=1, batch_size=50), "all"))
        for d_model in (64, 128)
    )
    assert 3 < wide / narrow < 4


def test_costs_add_up_over_runs_and_steps() -> None:
    specs = [small_run(seed=0), small_run(seed=1), small_run(TASKS[3], n_steps=7)]
    flops = 2 * 5 * step_flops(specs[0]) + 7 * step_flops(specs[2])
    assert cost(specs, 1e9) == Cost(3, pytest.approx(flops), pytest.approx(flops / 0.5e9))
    assert cost([], 1e9) == Cost(0, 0, 0)
