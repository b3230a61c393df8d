"""A training cut off between two steps: all that its other steps depend on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Protocol

from jaxtyping import Shaped
from pydantic import Field
from torch import Tensor

from rtinterp.strict import strict
from rtinterp.training.run import Run

NotNegative = Annotated[int, Field(ge=0)]


@dataclasses.dataclass(frozen=True)
class EngineState:
    """Where an engine stands.

    Attributes:
        tensors: what trains (``parameter/NAME``), what the optimiser remembers (``step/NAME``, ``exp_avg/NAME``,
            ``exp_avg_sq/NAME``) and the data generators before their current blocks (``generator/MODEL``).
        n_used: sequences used up of each model's current block, which is drawn again rather than kept.
        n_rows: limit of a chunk; smaller than at the start where memory ran out.
        n_places: limit of a chunk.
    """

    tensors: Mapping[str, Shaped[Tensor, ...]]
    n_steps_done: int
    n_used: tuple[int, ...]
    n_rows: int
    n_places: int


@strict
class Divergence:
    """Why a run cannot be finished.

    Attributes:
        step: the optimiser step that showed it.
        reason: for people, with what may help.
    """

    step: NotNegative
    reason: str


@strict
class CheckpointFacts:
    """What a checkpoint holds beside its tensors.

    Attributes:
        run_ids: of the stack, in its order: which models train together decides the last bits.
        device: kind of device; a generator's state means nothing on another.
        seconds: spent on training so far.
        diverged: by run id.
        stopped: the step at which a run was stopped, by run id; what came of it is kept elsewhere.
    """

    format_version: Literal[1]
    run_ids: tuple[str, ...]
    device: str
    n_steps_done: NotNegative
    n_used: tuple[NotNegative, ...]
    n_rows: NotNegative
    n_places: NotNegative
    seconds: float
    diverged: dict[str, Divergence]
    stopped: dict[str, NotNegative] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A stack's training between two steps.

    Attributes:
        tensors: those of ``EngineState``, on the CPU; ``losses`` ``[step model]`` since the last evaluation, and the
            history so far: ``history_steps`` ``[row]`` and ``history`` ``[row model column]``; trained tensors at kept
            steps as ``kept/STEP/MODEL/NAME``.
    """

    facts: CheckpointFacts
    tensors: Mapping[str, Shaped[Tensor, ...]]


class Keeper(Protocol):
    """Where a training leaves what must survive it. The training does not know about files."""

    def saved(self) -> Iterator[Checkpoint]:
        """Checkpoints of this stack, the newest first; damaged ones are left out."""
        ...
        ...

    def is_due(self) -> bool:
        """Whether the last checkpoint is old enough for another; asked after every step."""
        ...
        ...

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint in place of older ones."""
        ...

    def tell(self, step: int, train_loss: float | None) -> None:
        """Told after every step; may raise to end the training."""
        ...

    def diverged(self, run_id: str, divergence: Divergence, seconds: float) -> None:
        """Told once for every model that cannot be finished; the others go on."""
        ...

    def stopped(self, run_id: str, step: int, run: Run | None) -> None:
        """Told once for every model that is stopped; the others go on.

        Args:
            run: None if a checkpoint says that it was stopped, and it was told before that.
        """
        ...
