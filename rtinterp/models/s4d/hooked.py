"""S4D with TransformerLens's hook points. Importing this takes seconds, for transformer_lens."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Complex, Float, Float32
from torch import Tensor, nn
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.hook_points import HookPoint

from rtinterp.models.hooked_decoder import HookedDecoder, load_exactly
from rtinterp.models.hooked_embedding import zeros
from rtinterp.models.hooked_mixer_block import HookedMixerBlock
from rtinterp.models.layers import LAYER_NORM_EPS
from rtinterp.models.s4d.architecture import S4DArchitecture
from rtinterp.models.s4d.mixer import Mixer, Recurrence
from rtinterp.models.transformer.hooked_block import HookedLayerNorm
from rtinterp.tasks import Task


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


def hooked_s4d(
    task: Task, architecture: S4DArchitecture, tensors: Mapping[str, Float32[Tensor, ...]], device: str = "cpu"
) -> HookedDecoder:
    """A HookedDecoder of S4D's layers with exactly these tensors, by name; it has no heads and no MLPs.

    Raises:
        ValueError: the tensors are not those of the model.
    """
    cfg = TransformerBridgeConfig(
        n_layers=architecture.n_layers,
        d_model=architecture.d_model,
        n_heads=1,
        d_head=architecture.d_model,
        d_vocab=task.d_vocab,
        d_vocab_out=task.d_vocab_out,
        n_ctx=task.n_ctx,
        act_fn="gelu",
        normalization_type="LN",
        eps=LAYER_NORM_EPS,
        positional_embedding_type="none",
        attention_dir="causal",
        init_weights=False,
        device=device,
        model_name=f"random-s4d-{task.name}",
    )
    prefix = "blocks.0.mixer."
    shapes = {name.removeprefix(prefix): tuple(t.shape) for name, t in tensors.items() if name.startswith(prefix)}
    blocks = (HookedMixerBlock(HookedLayerNorm(cfg), HookedS4DMixer(shapes)) for _ in range(architecture.n_layers))
    model = HookedDecoder(cfg, blocks, HookedLayerNorm(cfg))
    load_exactly(model, tensors)
    return model.to(torch.device(device)).eval()
