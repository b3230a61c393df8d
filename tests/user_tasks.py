"""Tasks as a user writes them."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from rtinterp import register_task
from rtinterp.tasks import Batch, Task


@register_task
@dataclass(frozen=True)
class CopyFirst(Task):
    """Say the first token again after two others."""

    name: ClassVar[str] = "copy_first"
    n_spare_positions: ClassVar[int] = 0
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

    def _label(self, token: int) -> str:
        return str(token)

    def floors(self) -> dict[str, float]:
        return {}
