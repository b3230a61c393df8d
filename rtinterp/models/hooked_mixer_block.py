"""A block of a recurrent body with hook points, whatever its layer. Importing this takes seconds."""

from __future__ import annotations

from typing import Any, ClassVar

from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint


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
