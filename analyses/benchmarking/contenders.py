"""Ways to take training steps: ours, and those we are measured against. Each trains a random transformer."""

from __future__ import annotations

import dataclasses
import random
import statistics
import warnings
from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarking.python_samplers import python_sampler, scored_like
from rtinterp.models.build import build_model
from rtinterp.models.layers import LAYER_NORM_EPS
from rtinterp.models.regimes import freeze
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import Batch
from rtinterp.training.engine import Engine
from rtinterp.training.loop import stacks
from rtinterp.training.optimiser import learning_rate
from rtinterp.training.spec import RunSpec
from rtinterp.training.stream import TrainingStream
from rtinterp.training.train_spec import Precision

TEST_SEQUENCES_AT_ONCE = 500


class Contender(Protocol):
    """Trains models that differ in their seed, one step at a time."""

    def step(self) -> object:
        """One step of every model; returns when it is done."""

    def test_accuracy(self) -> float:
        """Median over the models, in [0, 1]."""
        ...


class Engines:
    """Ours: one or several stacks."""

    def __init__(self, stacks: list[list[RunSpec]], device: torch.device) -> None:
        self.engines = [Engine(stack, device) for stack in stacks]

    def step(self) -> object:
        return [engine.step().tolist() for engine in self.engines]

    def test_accuracy(self) -> float:
        accuracies = [accuracy for engine in self.engines for accuracy in engine.test().metrics["accuracy"].tolist()]
        return statistics.median(accuracies)


def ours(specs: list[RunSpec], device: torch.device) -> Engines:
    """Seeds in the stacks that ``train`` makes of them."""
    return Engines(stacks(specs, device), device)


def ours_bfloat16(specs: list[RunSpec], device: torch.device) -> Engines:
    return ours([_in_bfloat16(spec) for spec in specs], device)


def _in_bfloat16(spec: RunSpec) -> RunSpec:
    return dataclasses.replace(spec, training=dataclasses.replace(spec.training, precision="bfloat16"))


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to train some specs that differ in their seed.

    Attributes:
        start: makes what trains them.
        precision: of the products in the blocks.
        one_at_a_time: trains one model after the other, so that one of them is timed for all.
    """

    start: Callable[[list[RunSpec], torch.device], Contender]
    precision: Precision = "float32"
    one_at_a_time: bool = True


CONTENDERS = {
    "ours": Way(ours, one_at_a_time=False),
    "ours, bfloat16": Way(ours_bfloat16, "bfloat16", one_at_a_time=False),
    "ours, one seed at a time": Way(ours),
    "ours, bfloat16, one seed at a time": Way(ours_bfloat16, "bfloat16"),
    "HookedTransformer loop": Way(lambda specs, device: _HookedTrainer(specs[0], device)),
    "official style": Way(lambda specs, device: _HuggingFaceTrainer(specs[0], device)),
}


class _AutogradTrainer:
    """The training step that both autograd loops share: loss, backward, clip, AdamW."""

    def __init__(self, spec: RunSpec, model: nn.Module, device: torch.device) -> None:
        self.task, self.training = spec.task, spec.training
        self.model, self.device = model, device
        self._trained = [p for p in model.parameters() if p.requires_grad]
        self._optimiser = torch.optim.AdamW(
            self._trained, lr=spec.training.learning_rate, weight_decay=spec.training.weight_decay
        )
        self._n_steps_done = 0

    def update(self, logits: Tensor, batch: Batch) -> float:
        """One optimiser step on the cross-entropy at the scored positions."""
        scored = batch.scored[:, :-1]
        loss = F.cross_entropy(logits[:, :-1][scored], batch.tokens[:, 1:][scored])
        self._optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._trained, self.training.max_grad_norm)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self._n_steps_done, self.training)
        self._optimiser.step()
        self._n_steps_done += 1
        return loss.item()

    def logits(self, tokens: Tensor) -> Tensor:
        return self.model(tokens)

    @torch.no_grad()
    def test_accuracy(self) -> float:
        n_right, n_scored = 0, 0
        test_set = self.task.test_set()
        for start in range(0, len(test_set), TEST_SEQUENCES_AT_ONCE):
            batch = test_set[start : start + TEST_SEQUENCES_AT_ONCE].to(self.device)
            scored = batch.scored[:, :-1]
            guesses = self.logits(batch.tokens)[:, :-1].argmax(-1)
            n_right += int((guesses == batch.tokens[:, 1:])[scored].sum())
            n_scored += int(scored.sum())
        return n_right / n_scored


class _HookedTrainer(_AutogradTrainer):
    def __init__(self, spec: RunSpec, device: torch.device) -> None:
        model = build_model(spec.task, spec.model, spec.seed, device=str(device))
        super().__init__(spec, freeze(model, spec.trainable), device)
        self._stream = TrainingStream(spec.task, spec.training.batch_size, spec.seed, device)

    def step(self) -> float:
        batch = self._stream.next_batch()
        return self.update(self.logits(batch.tokens), batch)


class _HuggingFaceTrainer(_AutogradTrainer):
    def __init__(self, spec: RunSpec, device: torch.device) -> None:
        super().__init__(spec, _frozen_gpt2(spec).to(device), device)
        self._rng = random.Random(spec.seed)
        self._draw = python_sampler(spec.task)
        self._test_set = set(map(tuple, spec.task.test_set().tokens.tolist()))

    def step(self) -> float:
        rows: list[list[int]] = []
        while len(rows) < self.training.batch_size:
            row = self._draw(self._rng)
            if tuple(row) not in self._test_set:
                rows.append(row)
        batch = scored_like(self.task, torch.tensor(rows)).to(self.device)
        return self.update(self.logits(batch.tokens), batch)

    def logits(self, tokens: Tensor) -> Tensor:
        return self.model(input_ids=tokens).logits


def _frozen_gpt2(spec: RunSpec) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    if not isinstance(spec.model, ModelSpec):
        raise ValueError(f"{spec.model} is not GPT-2's transformer, which is what transformers trains here")
    config = GPT2Config(
        vocab_size=spec.task.d_vocab,
        n_positions=spec.task.n_ctx,
        n_embd=spec.model.d_model,
        n_layer=spec.model.n_layers,
        n_head=spec.model.n_heads,
        layer_norm_epsilon=LAYER_NORM_EPS,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        tie_word_embeddings=False,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GPT2LMHeadModel(config)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(part in name for part in ("wte", "wpe", "lm_head")))
    return model
