"""At which steps of a training the trained tensors are kept."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

#: Each is a copy of the trained tensors in memory, in every checkpoint and in the stored run.
MAX_KEPT_STEPS = 1000

Steps = tuple[Annotated[int, Field(ge=0)], ...]


def _rising(kept_steps: str | Steps) -> str | Steps:
    if isinstance(kept_steps, str):
        return kept_steps
    if len(kept_steps) > MAX_KEPT_STEPS:
        raise ValueError(f"names {len(kept_steps)} steps; up to {MAX_KEPT_STEPS} can be kept")
    if any(later <= earlier for earlier, later in pairwise(kept_steps)):
        raise ValueError(f"must rise, each step once, unlike {kept_steps}")
    return kept_steps or "none"


KeptSteps = Annotated[Literal["none", "log"] | Steps, AfterValidator(_rising)]


def kept_until(kept_steps: KeptSteps, n_steps: int, last_step: int) -> Steps:
    """The steps at which a training of ``n_steps`` keeps its trained tensors, up to one of them, rising.

    Step 0 is before the first one. ``"log"`` keeps step 0, every power of two and the last step: 12 copies in 1,000
    steps.
    """
    if kept_steps == "none":
        return ()
    if kept_steps == "log":
        kept_steps = (0, *(2**power for power in range(n_steps.bit_length()) if 2**power < n_steps), n_steps)
    return tuple(step for step in kept_steps if step <= last_step)
