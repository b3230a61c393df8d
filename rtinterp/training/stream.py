"""The endless training data of one run."""

from __future__ import annotations

import hashlib

import torch
from jaxtyping import UInt8
from torch import Tensor

from rtinterp.tasks import Batch, Task
from rtinterp.tasks.base import check_batch

#: Sequences are drawn ahead in blocks of about this size, so that small batches do not pay for many small operations,
#: of which a GPU does each in the time that it takes to start it.
BLOCK_SEQUENCES = {"cpu": 2**12, "cuda": 2**16}


class TrainingStream:
    """Batches of a task, a function of (task, batch size, seed, kind of device) alone."""

    def __init__(self, task: Task, batch_size: int, seed: int, device: torch.device) -> None:
        self._task = task
        self._batch_size = batch_size
        self._block_size = batch_size * batches_per_block(batch_size, device)
        self._generator = torch.Generator(device).manual_seed(stream_seed(seed))
        self._before_block = self._generator.get_state()
        self._block: Batch | None = None
        self._next = 0

    def next_batch(self) -> Batch:
        block = self._block
        if block is None or self._next == self._block_size:
            block = self._draw_block()
        start, self._next = self._next, self._next + self._batch_size
        return block[start : self._next]

    def state(self) -> tuple[UInt8[Tensor, " byte"], int]:
        """What ``restore`` takes: the generator before the current block, and how much of the block is used up."""
        return self._before_block, self._next

    def restore(self, before_block: UInt8[Tensor, " byte"], n_used: int) -> None:
        """Go on from a state; the block is drawn again.

        Raises:
            ValueError: not a state of a stream of this task and batch size.
        """
        if not 0 <= n_used <= self._block_size or n_used % self._batch_size:
            raise ValueError(f"{n_used} sequences of a block of {self._block_size} cannot be used up")
        try:
            self._generator.set_state(before_block)
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"not the state of a generator: {error}") from error
        self._before_block, self._block = before_block, None
        if n_used:
            self._draw_block()
            self._next = n_used

    def _draw_block(self) -> Batch:
        self._before_block = self._generator.get_state()
        block = check_batch(self._task, self._task.sample(self._block_size, self._generator), self._block_size)
        self._block, self._next = block.to(self._generator.device), 0
        return self._block


def batches_per_block(batch_size: int, device: torch.device) -> int:
    """Count the batches that are drawn at once."""
    return max(1, BLOCK_SEQUENCES[device.type] // batch_size)


def stream_seed(seed: int) -> int:
    """Seed of the data generator: unrelated to the streams that draw the initial tensors."""
    return int.from_bytes(hashlib.sha256(f"training stream/{seed}".encode()).digest()[:8], "little") >> 1
