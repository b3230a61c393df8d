"""Models to open up: modules with hook points, of any body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jaxtyping import Float32
from torch import Tensor

from rtinterp.models.body import Body, check_can_be_listed
from rtinterp.models.inputs import check_inputs
from rtinterp.models.regimes import COMPONENT_GROUPS
from rtinterp.tasks import Task

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel


def build_model(task: Task, body: Body, seed: int, device: str = "cpu") -> HookedModel:
    """A model for the task at its initial values; the body is a function of ``(body, seed)`` alone.

    A GPT-2 body makes a TransformerLens HookedTransformer where the installed TransformerLens has that class (before
    4.0) and it can express the body and its inputs, and otherwise a HookedDecoder, which has the same parameters, hook
    points and tools. A recurrent body makes a HookedRecurrent.

    Raises:
        ImportError: transformer-lens is missing.
        ValueError: the body has more than 1000 layers, or cannot read sequences as long as the task's.
        MemoryError: its parameters need more memory than this machine has.
    """
    check_can_be_listed(body)
    body.check_can_read(task)
    return hooked_model(task, body, body.initial_tensors(task.d_vocab, task.n_ctx, seed, task.d_vocab_out), device)


def hooked_model(
    task: Task, body: Body, tensors: Mapping[str, Float32[Tensor, ...]], device: str = "cpu"
) -> HookedModel:
    """A module with hook points and exactly these tensors, by name.

    Its ``component_groups`` are those of the tensors that a regime may train, by name; ``freeze`` reads them.

    Raises:
        ValueError: the tensors are not those of the model.
    """
    model = body.hooked(task, tensors, device)
    parameters = body.parameters(task.d_vocab, task.n_ctx, task.d_vocab_out)
    # TransformerLens's own reads tokens alone.
    check_inputs(model, task.d_vocab, reads_values=not type(model).__module__.startswith("transformer_lens"))
    setattr(model, COMPONENT_GROUPS, {parameter.name: parameter.group for parameter in parameters if parameter.trains})
    return model
