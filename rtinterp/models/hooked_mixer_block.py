"""Blocks of recurrent bodies with hook points, and a model of them, whatever the layers. Importing takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.hook_points import HookPoint

from rtinterp.models.body import Body
from rtinterp.models.hooked_decoder import HookedDecoder
from rtinterp.models.loading import load_exactly
from rtinterp.tasks import Task

#: Names of the tensors of a layer begin so.
FIRST_MIXER = "blocks.0.mixer."


class HookedMixerBlock(nn.Module):
    """A norm and a layer, added to the residual stream: ``hook_resid_pre``, ``hook_mixer_out``, ``hook_resid_post``.

    Args:
        norm: what the layer reads the residual stream through.
        mixer: the layer, from [batch pos d_model] to what is added.
    """

    #: TransformerLens 4's logit lens asks for it: ``hook_resid_post`` is what the next layer or ``ln_final`` reads.
    hook_out_is_single_residual_stream: ClassVar[bool] = True

    def __init__(self, norm: nn.Module, mixer: nn.Module) -> None:
        super().__init__()
        self.ln1, self.mixer = norm, mixer
        self.hook_resid_pre, self.hook_mixer_out, self.hook_resid_post = HookPoint(), HookPoint(), HookPoint()

    def forward(
        self,
        resid_pre: Float[Tensor, "batch pos d_model"],
        visible: Bool[Tensor, "#batch 1 query_pos key_pos"],
        past_kv_cache_entry: Any = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream after the layer.

        Raises:
            ValueError: a position is masked, or there are cached keys: a recurrence reads all positions and has none.
        """
        if past_kv_cache_entry is not None:
            raise ValueError("a recurrence has no keys that could be cached; pass whole sequences, no past_kv_cache")
        if not bool(visible[:, :, -1].all()):
            raise ValueError("a recurrence reads every position up to the present one; pass no attention_mask")
        resid_pre = self.hook_resid_pre(resid_pre)
        return self.hook_resid_post(resid_pre + self.hook_mixer_out(self.mixer(self.ln1(resid_pre))))


def decoder_of_mixers(
    task: Task,
    body: Body,
    tensors: Mapping[str, Float32[Tensor, ...]],
    norm: Callable[[TransformerBridgeConfig], nn.Module],
    mixer: Callable[[Mapping[str, tuple[int, ...]]], nn.Module],
    device: str,
    **config: Any,
) -> HookedDecoder:
    """A HookedDecoder of such blocks with exactly these tensors, by name; it has no heads and no MLPs.

    Args:
        norm: makes a norm.
        mixer: makes a layer from the shapes of its tensors, by their names within it.
        config: further fields of the configuration.

    Raises:
        ValueError: the tensors are not those of the model.
    """
    cfg = TransformerBridgeConfig(
        n_layers=body.n_layers,
        d_model=body.d_model,
        n_heads=1,
        d_head=body.d_model,
        d_vocab=task.d_vocab,
        d_vocab_out=task.d_vocab_out,
        n_ctx=task.n_ctx,
        positional_embedding_type="none",
        attention_dir="causal",
        init_weights=False,
        device=device,
        model_name=f"random-{body.name}-{task.name}",
        **config,
    )
    of_mixer = {name: tuple(tensor.shape) for name, tensor in tensors.items() if name.startswith(FIRST_MIXER)}
    shapes = {name.removeprefix(FIRST_MIXER): shape for name, shape in of_mixer.items()}
    blocks = (HookedMixerBlock(norm(cfg), mixer(shapes)) for _ in range(body.n_layers))
    model = HookedDecoder(cfg, blocks, norm(cfg))
    load_exactly(model, tensors)
    return model.to(torch.device(device)).eval()
