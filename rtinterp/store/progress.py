"""What a process that trains into a store tells the others."""

from __future__ import annotations

from rtinterp.strict import strict


@strict
class Progress:
    """One stack that a process is training right now.

    Attributes:
        run_ids: the runs of the stack.
        host: name of the machine.
        pid: process on that machine.
        step: finished optimiser steps.
        n_steps: steps of the whole training.
        train_loss: of the last step, in nats, mean over the models that have not failed; None before the first.
    """

    run_ids: tuple[str, ...]
    host: str
    pid: int
    step: int
    n_steps: int
    train_loss: float | None
