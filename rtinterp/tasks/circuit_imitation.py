"""Circuit imitation: random tokens on which to predict what a random target transformer predicts."""

from __future__ import annotations

import functools
from typing import Annotated, ClassVar, Literal

import pydantic
import torch
from jaxtyping import Int64
from pydantic import Field
from torch import Tensor

from rtinterp.strict import strict
from rtinterp.tasks import draws
from rtinterp.tasks.base import FIXED_SEED, N_TEST_SEQUENCES, LossName, Task, check_sample_size
from rtinterp.tasks.batch import Batch


@strict
class CircuitImitation(Task):
    """Uniform random tokens, and a random target transformer whose next-token distribution is to be matched.

    The loss is KL(target || student) in nats; accuracy is how often the two agree on the most likely token. A batch has
    one more token than the models read, so that the last position has a next one; it is never read (paper section 5.2).

    Args:
        target_d_model: width of the target: 4 to 128 in the paper.
        target_n_layers: layers of the target.
        target_n_heads: heads of the target.
        target_seed: draws the target's weights; the same for every student.
        n_tokens: tokens read.
        d_vocab: number of token ids.
        scored_positions: where the KL is taken: at the "last" position (official code) or at "all".

    Raises:
        ValueError: a value is out of range, or the width is not a multiple of the heads.
    """

    name: ClassVar[str] = "circuit_imitation"
    loss: ClassVar[LossName] = "kl_divergence"

    target_d_model: Annotated[int, Field(ge=1)]
    target_n_layers: Annotated[int, Field(ge=1)] = 3
    target_n_heads: Annotated[int, Field(ge=1)] = 2
    target_seed: Annotated[int, Field(ge=0)] = 0
    n_tokens: Annotated[int, Field(ge=1)] = 40
    # A field does what the property of a task does: it is read.
    d_vocab: Annotated[int, Field(ge=2)] = 512  # pyright: ignore[reportIncompatibleMethodOverride]
    scored_positions: Literal["last", "all"] = "last"

    @pydantic.model_validator(mode="after")
    def _heads_divide_width(self) -> CircuitImitation:
        if self.target_d_model % self.target_n_heads:
            raise ValueError(
                f"target_d_model={self.target_d_model} is not a multiple of target_n_heads={self.target_n_heads}"
            )
        return self

    @property
    def sequence_length(self) -> int:
        return self.n_tokens + 1

    @property
    def n_ctx(self) -> int:
        """The token after the last is not read and needs no position."""
        return self.n_tokens

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        """Draw ``n`` sequences of uniform tokens, on the generator's device.

        The chance that one of them is in the test set is below 1e-9 at the paper's size, and no label is shared.

        Raises:
            ValueError: if ``n`` is less than 1.
        """
        check_sample_size(n)
        return self._batch(draws.uniform(0, self.d_vocab - 1, (n, self.n_tokens), generator))

    def test_set(self) -> Batch:
        """Fixed sequences of uniform tokens, on the CPU; cached and shared between callers: do not modify."""
        return _test_set(self)

    def _batch(self, read: Int64[Tensor, "batch read"]) -> Batch:
        tokens = torch.nn.functional.pad(read, (0, 1))
        scored = torch.zeros_like(tokens, dtype=torch.bool)
        first = self.n_tokens - 1 if self.scored_positions == "last" else 0
        scored[:, first:-1] = True
        return Batch(tokens, scored)

    def floors(self) -> dict[str, float]:
        """``chance``: one token of the vocabulary."""
        return {"chance": 1 / self.d_vocab}


@functools.cache
def _test_set(task: CircuitImitation) -> Batch:
    return task.sample(N_TEST_SEQUENCES, torch.Generator().manual_seed(FIXED_SEED))
