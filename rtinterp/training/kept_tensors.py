"""The trained tensors of a stack at its kept steps, while it trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from jaxtyping import Float, Shaped
from torch import Tensor

from rtinterp.training.kept_steps import kept_until
from rtinterp.training.spec import RunSpec

Trained = Mapping[str, Float[Tensor, "..."]]


class KeptTensors:
    """Collects what a stack of runs keeps, on the CPU.

    Args:
        read_trained: a copy of the trained tensors of a model, by its place in the stack.
    """

    def __init__(self, specs: Sequence[RunSpec], read_trained: Callable[[int], Trained]) -> None:
        self._models, self._read_trained = range(len(specs)), read_trained
        training = specs[0].training
        self._due = kept_until(training.kept_steps, training.n_steps, training.n_steps)
        self._kept: dict[int, list[Trained]] = {}

    def keep(self, step: int) -> None:
        """Copy the trained tensors of every model, if this step is one to keep."""
        if step in self._due:
            self._kept[step] = [self._read_trained(model) for model in self._models]

    def of(self, model: int) -> dict[int, Trained]:
        """What was kept of one model so far, by step."""
        return {step: trained[model] for step, trained in self._kept.items()}

    def tensors(self) -> dict[str, Float[Tensor, ...]]:
        """All that was kept, as a checkpoint holds it."""
        return {
            _name(step, model, name): tensor
            for step, models in self._kept.items()
            for model, trained in enumerate(models)
            for name, tensor in trained.items()
        }

    def restore(self, tensors: Mapping[str, Shaped[Tensor, ...]], trained: Sequence[str], last_step: int) -> None:
        """The inverse of ``tensors``.

        Raises:
            KeyError: there is no such tensor.
        """
        self._kept = {
            step: [{name: tensors[_name(step, model, name)] for name in trained} for model in self._models]
            for step in self._due
            if step <= last_step
        }


def _name(step: int, model: int, name: str) -> str:
    return f"kept/{step}/{model}/{name}"
