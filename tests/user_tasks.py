"""Tasks as a user writes them."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from rtinterp import register_task
from rtinterp.tasks import Batch, Task
from rtinterp.tasks.base import LossName, Reads


@register_task
@dataclass(frozen=True)
class CopyFirst(Task):
    """Say the first token again after two others."""

    name: ClassVar[str] = "copy_first"
    n_values: int = 7
    sequence_length: ClassVar[int] = 4

    @property
    def d_vocab(self) -> int:
        return self.n_values

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        tokens = torch.randint(self.n_values, (n, 4), generator=generator, device=generator.device)
        tokens[:, 3] = tokens[:, 0]
        return Batch(tokens, (torch.arange(4, device=tokens.device) == 2).repeat(n, 1))

    def test_set(self) -> Batch:
        return self.sample(50, torch.Generator().manual_seed(0))


@register_task
@dataclass(frozen=True)
class RunningSum(Task):
    """Say at every position, the last included, whether the sum so far leaves 0, 1 or 2 modulo 3."""

    name: ClassVar[str] = "running_sum"
    d_vocab: int = 5
    sequence_length: int = 6
    d_vocab_out: ClassVar[int] = 3

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        shape = (n, self.sequence_length)
        tokens = torch.randint(self.d_vocab, shape, generator=generator, device=generator.device)
        return Batch(tokens, torch.ones_like(tokens, dtype=torch.bool), tokens.cumsum(1) % 3)

    def test_set(self) -> Batch:
        return self.sample(40, torch.Generator().manual_seed(0))


@register_task
@dataclass(frozen=True)
class NoisySum(RunningSum):
    """The same in doubt: at every position but the first a distribution over the three, given by the task itself."""

    name: ClassVar[str] = "noisy_sum"
    loss: ClassVar[LossName] = "kl_divergence"

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        batch = super().sample(n, generator)
        scored = batch.scored.clone()
        scored[:, 0] = False
        doubt = torch.tensor([0.7, 0.2, 0.1]).log().to(batch.tokens.device)
        turned = (torch.arange(3, device=doubt.device) - batch.tokens.cumsum(1)[..., None]) % 3
        return Batch(batch.tokens, scored, doubt[turned])


@register_task
@dataclass(frozen=True)
class RunningMean(Task):
    """Read vectors, and say the mean of those so far at every position."""

    name: ClassVar[str] = "running_mean"
    reads: ClassVar[Reads] = "values"
    loss: ClassVar[LossName] = "mean_squared_error"
    dimension: int = 2
    sequence_length: int = 5

    @property
    def d_vocab(self) -> int:
        return self.dimension

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        shape = (n, self.sequence_length, self.dimension)
        values = torch.randn(shape, generator=generator, device=generator.device)
        counts = torch.arange(1, self.sequence_length + 1, device=values.device)
        return Batch(values, torch.ones(shape[:2], dtype=torch.bool), values.cumsum(1) / counts[:, None])

    def test_set(self) -> Batch:
        return self.sample(40, torch.Generator().manual_seed(0))
