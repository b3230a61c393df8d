"""Mamba with TransformerLens's hook points. Importing this takes seconds, for transformer_lens."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from rtinterp.models.hooked_embedding import zeros
from rtinterp.models.mamba.architecture import MambaArchitecture
from rtinterp.models.mamba.mixer import Mixer


def recurrent_states(
    u: Float[Tensor, "batch pos channel"],
    step: Float[Tensor, "batch pos channel"],
    rate: Float[Tensor, "channel state"],
    written: Float[Tensor, "batch pos state"],
) -> Float[Tensor, "batch pos channel state"]:
    """The numbers that every channel keeps, one position after the other: slower than a scan, and plainly right."""
    kept, added = torch.exp(step.unsqueeze(-1) * rate), (step * u).unsqueeze(-1) * written.unsqueeze(-2)
    states = [added[:, 0]]
    for position in range(1, u.shape[1]):
        states.append(kept[:, position] * states[-1] + added[:, position])
    return torch.stack(states, 1)


class HookedMixer(nn.Module):
    """One layer, but for its norm.

    Hook points, [batch pos channel] where nothing else is said: ``hook_x`` and ``hook_gate``, what the first map gives,
    the gate before its SiLU; ``hook_conv``, what the recurrence reads; ``hook_delta``, the step sizes; ``hook_B`` and
    ``hook_C`` [batch pos state], what is written and read; ``hook_state`` [batch pos channel state], after each
    position; ``hook_y``, what channels give before the gate. A change of the state reaches what is read at its position
    and not later states, since all positions have run.
    """

    def __init__(self, architecture: MambaArchitecture, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.architecture = architecture
        for name, shape in shapes.items():
            self.register_parameter(name, zeros(*shape))
        self.hook_x, self.hook_gate, self.hook_conv = HookPoint(), HookPoint(), HookPoint()
        self.hook_delta, self.hook_B, self.hook_C = HookPoint(), HookPoint(), HookPoint()
        self.hook_state, self.hook_y = HookPoint(), HookPoint()

    def forward(self, normalised: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        """What the layer writes to the residual stream."""
        tensors = {name: parameter.unsqueeze(0) for name, parameter in self.named_parameters(recurse=False)}
        mixer = Mixer.of(self.architecture, tensors, normalised.dtype)
        x, gate = mixer.to_channels(normalised.flatten(0, 1)[None]).unflatten(1, normalised.shape[:2]).chunk(2, -1)
        x, gate = self.hook_x(x[0]), self.hook_gate(gate[0])
        u = self.hook_conv(mixer.convolved(x[None])[0])
        step, written, read = (part[0] for part in mixer.selection(u[None]))
        step, written, read = self.hook_delta(step), self.hook_B(written), self.hook_C(read)
        state = self.hook_state(recurrent_states(u, step, mixer.rate[0], written))
        given = (state @ read.unsqueeze(-1)).squeeze(-1)
        y = self.hook_y(mixer.output(u[None], given[None])[0])
        return mixer.to_residual((y * F.silu(gate)).flatten(0, 1)[None])[0].unflatten(0, normalised.shape[:2])
