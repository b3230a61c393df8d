"""S4D with TransformerLens's hook points. Importing this takes seconds, for transformer_lens."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from rtinterp.models.hooked_embedding import zeros
from rtinterp.models.s4d.mixer import Mixer, Recurrence


def recurrent_states(
    recurrence: Recurrence, u: Float[Tensor, "batch pos channel"]
) -> Complex[Tensor, "batch pos channel pair"]:
    """The numbers that every channel of one model keeps, one position after the other."""
    kept = recurrence.log_kept[0].exp()
    inputs = u.unsqueeze(-1) * recurrence.added[0]
    states = [inputs[:, 0]]
    for position in range(1, u.shape[1]):
        states.append(kept * states[-1] + inputs[:, position])
    return torch.stack(states, 1)


class HookedS4DMixer(nn.Module):
    """One layer, but for its norm.

    Hook points: ``hook_state`` [batch pos channel pair], complex numbers after each position, of each of which the
    conjugate counts as well; ``hook_y`` [batch pos channel], what the recurrence gives. A change of the state reaches
    what is read at its position and not later states, since all positions have run.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        for name, shape in shapes.items():
            self.register_parameter(name, zeros(*shape))
        self.hook_state, self.hook_y = HookPoint(), HookPoint()

    def forward(self, normalised: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        """What the layer writes to the residual stream."""
        tensors = {name: parameter.unsqueeze(0) for name, parameter in self.named_parameters(recurse=False)}
        mixer = Mixer.of(tensors, normalised.dtype)
        state = self.hook_state(recurrent_states(mixer.recurrence, normalised))
        given = 2 * (state * mixer.recurrence.read[0]).sum(-1).real + mixer.recurrence.skip[0] * normalised
        return mixer.written(self.hook_y(given).flatten(0, 1)[None])[0].unflatten(0, normalised.shape[:2])
