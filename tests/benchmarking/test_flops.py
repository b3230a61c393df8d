"""Operations are counted as they are executed."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from benchmarking_references import CPU, small_run
from torch.utils.flop_counter import FlopCounterMode

from rtinterp import RunSpec
from rtinterp.tasks import (
    Batch,
    DecimalAddition,
    ModularAddition,
    NeedleInAHaystack,
    ParenthesisBalancing,
    Task,
    register_task,
)
from rtinterp.training.engine import Engine
from rtinterp.training.flops import step_flops

aten = torch.ops.aten


def executed_flops(spec: RunSpec) -> int:
    """Of every product that the engine does, told by torch; it knows no formula for fused attention on a CPU."""

    def forward(q, k, v, *_, **__) -> int:
        return 2 * 2 * math.prod(q) * k[2]

    def backward(gradient, q, k, v, *_, **__) -> int:
        return 4 * 2 * math.prod(q) * k[2]

    fused = {
        aten._scaled_dot_product_flash_attention_for_cpu: forward,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: backward,
    }
    engine = Engine([spec], CPU)
    with FlopCounterMode(display=False, custom_mapping=fused) as counter:
        engine.backward()
    return counter.get_total_flops()


#: A batch, and the least share of what is executed: what is not needed is attention of padding and to later positions.
EXECUTED = [
    (ModularAddition(p=59), 200, 0.98),
    (NeedleInAHaystack(max_pairs=8), 40, 0.94),
    (DecimalAddition(n_digits=4), 30, 0.97),
    (ParenthesisBalancing(max_pairs=10), 50, 0.85),
]


@pytest.mark.parametrize("n_layers", [2, 3])
@pytest.mark.parametrize(("task", "batch_size", "least"), EXECUTED, ids=[str(task) for task, *_ in EXECUTED])
def test_step_flops_are_hardly_fewer_than_the_engine_executes(
    task: Task, batch_size: int, least: float, n_layers: int
) -> None:
    spec = small_run(task, d_model=128, n_layers=n_layers, batch_size=batch_size)
    assert least < step_flops(spec) / executed_flops(spec) <= 1


@pytest.mark.parametrize(
    ("trainable", "least"), [("frozen_qk", 0.7), ("frozen_mlp", 0.9), ("mlp", 0.9), ("norms", 0.9), ("ov", 0.7)]
)
def test_step_flops_of_a_partly_frozen_body(trainable: str, least: float) -> None:
    """The engine makes queries, keys and values in one product, of which the gradient is that of all three."""
    task = NeedleInAHaystack(max_pairs=8)
    spec = dataclasses.replace(small_run(task, d_model=128, batch_size=40), trainable=trainable)
    assert least < step_flops(spec) / executed_flops(spec) <= 1


def test_a_frozen_matrix_costs_no_gradient_of_its_own() -> None:
    """Ten sequences of five inputs, nothing shared: one pass per matrix and row, and only where something trains."""
    d, n_rows = 128, 50
    square, pairs = n_rows * d**2, 10 * 15 * 2 * d
    cost = {
        groups: step_flops(dataclasses.replace(small_run(EverythingOnce(), d, batch_size=10), trainable=groups))
        for groups in ("all", "frozen_qk", "frozen_mlp", "unembedding", "mlp+unembedding")
    }
    assert cost["all"] - cost["frozen_qk"] == 2 * 2 * 2 * square
    assert cost["all"] - cost["frozen_mlp"] == 2 * 2 * 8 * square
    # What comes after the first W_in carries a gradient: W_out, the second block, and what the unembedding reads.
    of_inputs = (4 + 12) * square + 2 * pairs + n_rows * d * 60
    assert cost["mlp+unembedding"] - cost["unembedding"] == 2 * (2 * 8 * square + of_inputs)


@pytest.mark.parametrize("task", [task for task, *_ in EXECUTED], ids=str)
def test_step_flops_of_one_layer(task: Task) -> None:
    """The engine makes keys and values of one layer for every prefix, where each entry once would do."""
    spec = small_run(task, d_model=128, n_layers=1, batch_size=40)
    assert 0.8 < step_flops(spec) / executed_flops(spec) <= 1


@register_task
@dataclass(frozen=True)
class EverythingOnce(Task):
    """Every token of a batch is another, and every prediction is scored: nothing to share, nothing to skip."""

    name: ClassVar[str] = "everything_once"
    n_spare_positions = 0
    d_vocab = 60
    sequence_length = 6

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        tokens = torch.arange(60).view(10, 6).repeat(n // 10, 1)
        return Batch(tokens, (torch.arange(6) < 5).repeat(n, 1))

    def test_set(self) -> Batch:
        return self.sample(10, torch.Generator())

    def _label(self, token: int) -> str:
        return str(token)

    def floors(self) -> dict[str, float]:
        return {}


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_step_flops_of_a_dense_transformer(n_layers: int) -> None:
    """Ten sequences of five inputs: 12 d^2 weights a block, 1 + 2 + 3 + 4 + 5 pairs of query and key."""
    d = 128
    matrices = 50 * n_layers * 12 * d**2
    attention = 10 * n_layers * 15 * 2 * d
    unembedding = 50 * d * 60
    expected = 2 * (2 * matrices + 3 * attention + 3 * unembedding)
    spec = small_run(EverythingOnce(), d, n_layers, batch_size=10)
    assert step_flops(spec) == expected
    assert executed_flops(spec) >= expected


def test_step_flops_count_what_is_shared_once() -> None:
    """Every sequence twice: only the scored positions, all of them, cost twice as much."""
    d = 128
    per_scored = 2 * 10 * d**2
    attention = 3 * 2 * d * 3  # 15 pairs over 5 positions
    unembedding = 3 * d * 60
    once, twice = (small_run(EverythingOnce(), d, batch_size=n) for n in (10, 20))
    expected = 2 * 50 * (per_scored + attention + unembedding)
    assert step_flops(twice) - step_flops(once) == expected


def test_step_flops_of_one_sum() -> None:
    """``a b``, of which the last position is scored: keys and values of two positions, or the query through W_K."""
    d, n_heads, p = 128, 4, 23
    first_block = 2 * (2 * 12 * d**2) + 3 * ((1 + 2) * 2 * d)
    with_keys = 2 * ((10 + 2 * 2) * d**2) + 3 * (2 * 2 * d)
    without_keys = 2 * (12 * d**2) + 3 * (n_heads * 2 * 2 * d)
    assert without_keys < with_keys
    expected = 2 * (first_block + without_keys + 3 * d * p)
    assert step_flops(small_run(ModularAddition(p=p), d, batch_size=1)) == expected
