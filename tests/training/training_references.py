"""The same training, one model at a time: TransformerLens, autograd, torch's AdamW, Hugging Face's schedule."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import get_cosine_schedule_with_warmup

from rtinterp.models.regimes import Trainable
from rtinterp.models.transformer.hooked import hooked_transformer
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import (
    Batch,
    DecimalAddition,
    Memorization,
    ModularAddition,
    NeedleInAHaystack,
    ParenthesisBalancing,
    Task,
)
from rtinterp.training.engine import Engine
from rtinterp.training.spec import RunSpec, TrainSpec
from rtinterp.training.stream import TrainingStream

CPU = torch.device("cpu")

TASKS = [
    ModularAddition(p=23),
    NeedleInAHaystack(max_pairs=4, n_values=16),
    DecimalAddition(n_digits=2),
    ParenthesisBalancing(max_pairs=6),
    Memorization(n_keys=7),
]

EMBEDDINGS = {"embed.W_E", "pos_embed.W_pos", "unembed.W_U"}

REGIMES: dict[Trainable, set[str] | None] = {
    "embeddings": EMBEDDINGS,
    "all": None,
    "unembedding": {"unembed.W_U"},
    "input_embeddings": {"embed.W_E", "pos_embed.W_pos"},
    "token_embedding+unembedding": {"embed.W_E", "unembed.W_U"},
    "frozen_qk": None,
    "frozen_mlp": None,
}
#: Beginnings of the last parts of names.
FROZEN = {"frozen_qk": ("W_Q", "W_K", "b_Q", "b_K"), "frozen_mlp": ("W_in", "b_in", "W_out", "b_out")}


def trained_names(trainable: Trainable, names: Iterable[str]) -> set[str]:
    frozen = ("b_U", *FROZEN.get(trainable, ()))
    return REGIMES[trainable] or {name for name in names if not name.endswith(frozen)}


def small_run(task: Task = TASKS[0], trainable: Trainable = "embeddings", seed: int = 0, **training) -> RunSpec:
    """A run of seconds; rates high enough to see every step."""
    fields = {"n_steps": 5, "batch_size": 8, "learning_rate": 1e-2, "n_warmup_steps": 0, **training}
    return RunSpec(task, ModelSpec(d_model=16), TrainSpec(**fields), trainable, seed)


def plant(engine: Engine) -> None:
    """Large weights, random biases and gains, in place, so that no gradient is small by accident."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in engine.parameters.items():
            if name != "unembed.b_U":
                parameter.mul_(5).add_(0.1 * torch.randn(parameter.shape, generator=generator))


def unstacked(engine: Engine, model: int) -> nn.Module:
    """One model of the stack as a HookedTransformer with its own copies; only what trains requires grad."""
    tensors = {name: parameter[model].detach().clone() for name, parameter in engine.parameters.items()}
    hooked = hooked_transformer(engine.spec.task, engine.spec.model, tensors)
    trained = trained_names(engine.spec.trainable, tensors)
    for name, parameter in hooked.named_parameters():
        parameter.requires_grad_(name in trained)
    return hooked


def mean_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Mean cross-entropy over the scored positions of whole sequences, padding and all."""
    logits = model(batch.tokens)[:, :-1][batch.scored[:, :-1]]
    return F.cross_entropy(logits, batch.tokens[:, 1:][batch.scored[:, :-1]])


def n_correct(model: nn.Module, batch: Batch) -> tuple[int, int]:
    """Right answers and scored predictions, counted one at a time."""
    with torch.no_grad():
        guesses = model(batch.tokens).argmax(-1).tolist()
    right = [
        guesses[row][position] == batch.tokens[row, position + 1].item()
        for row, position in batch.scored.nonzero().tolist()
    ]
    return sum(right), len(right)


def train_alone(model: nn.Module, spec: RunSpec, n_steps: int) -> list[float]:
    """The official recipe in torch and transformers, in place; the losses before each step."""
    training = spec.training
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for name, p in named if ".W_" in name], "weight_decay": training.weight_decay},
        {"params": [p for name, p in named if ".W_" not in name], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=training.learning_rate,
        betas=(training.adam_beta1, training.adam_beta2),
        eps=training.adam_eps,
    )
    schedule = get_cosine_schedule_with_warmup(optimiser, training.n_warmup_steps, training.n_steps)
    stream = TrainingStream(spec.task, training.batch_size, spec.seed, CPU)
    losses = []
    for _ in range(n_steps):
        optimiser.zero_grad()
        loss = mean_loss(model, stream.next_batch())
        loss.backward()
        nn.utils.clip_grad_norm_([p for _, p in named], training.max_grad_norm)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def distance(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    """Relative distance between two sets of tensors taken together."""
    assert left.keys() == right.keys()
    difference, size = (
        torch.stack([x.norm() for x in tensors]).norm()
        for tensors in ([left[name] - right[name] for name in left], list(right.values()))
    )
    return float(difference / size)
