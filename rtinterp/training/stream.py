"""The endless training data of one run."""

from __future__ import annotations

import hashlib

import torch

from rtinterp.tasks import Batch, Task

#: Sequences are drawn ahead in blocks of about this size, so that small batches do not pay for many small operations.
BLOCK_SEQUENCES = 4096


class TrainingStream:
    """Batches of a task, a function of (task, batch size, seed, kind of device) alone."""

    def __init__(self, task: Task, batch_size: int, seed: int, device: torch.device) -> None:
        self._task = task
        self._batch_size = batch_size
        self._block_size = batch_size * max(1, BLOCK_SEQUENCES // batch_size)
        self._generator = torch.Generator(device).manual_seed(stream_seed(seed))
        self._block: Batch | None = None
        self._next = 0

    def next_batch(self) -> Batch:
        if self._block is None or self._next == self._block_size:
            self._block = self._task.sample(self._block_size, self._generator)
            self._next = 0
        start, self._next = self._next, self._next + self._batch_size
        return self._block[start : self._next]


def stream_seed(seed: int) -> int:
    """Seed of the data generator: unrelated to the streams that draw the initial tensors."""
    return int.from_bytes(hashlib.sha256(f"training stream/{seed}".encode()).digest()[:8], "little") >> 1
