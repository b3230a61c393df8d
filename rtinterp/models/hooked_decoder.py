"""A model with hook points, whatever its blocks, and TransformerLens's ways to run it. Importing this takes seconds.

It works with transformer-lens 3.9 and with 4.x, which removed HookedTransformer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn
from transformer_lens import ActivationCache, FactoredMatrix, HookedRootModule
from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.hook_points import HookPoint
from transformer_lens.utilities.lm_utils import lm_cross_entropy_loss

from rtinterp.models.hooked_embedding import HookedEmbed, HookedPosEmbed, HookedUnembed
from rtinterp.models.transformer.multipliers import NO_FACTORS, Factors, times

#: The flags of ``cfg``, and how the names of the hook points end that are called only while the flag is on.
FLAGGED_HOOKS = {
    "use_attn_result": ("attn.hook_result",),
    "use_split_qkv_input": ("hook_q_input", "hook_k_input", "hook_v_input"),
    "use_attn_in": ("hook_attn_in",),
    "use_hook_mlp_in": ("hook_mlp_in",),
}


class Output(NamedTuple):
    """What a model returns for ``return_type="both"``."""

    logits: Float[Tensor, "batch pos d_vocab_out"]
    loss: Float[Tensor, "*loss"]


def _of_blocks(part: str, name: str) -> property:
    """Make a property of the parameter of that name in every block, stacked along a first axis, layer."""
    return property(lambda self: torch.stack([getattr(getattr(block, part), name) for block in self.blocks]))


class HookedDecoder(HookedRootModule):
    """A decoder with the parameters, hook points and tools of TransformerLens's HookedTransformer, whatever its blocks.

    Names, shapes, arguments and the order of hooks are HookedTransformer's, so that ActivationCache, ``patching`` and
    most code written for it work. Tokenizers, ``generate``, ``from_pretrained`` and the folding of norms are missing.
    Unlike HookedTransformer it takes real-valued vectors [batch pos d_vocab] in the place of tokens, and ``hook_embed``
    then holds ``vectors @ W_E``. Parameters start as zeros.

    Args:
        cfg: sizes, and the flags of ``FLAGGED_HOOKS``, which are read at every call. Positions are embedded if its
            ``positional_embedding_type`` is ``"standard"``.
        blocks: modules from residual stream to residual stream, called as HookedBlock is.
        ln_final: the norm before the unembedding.
    """

    def __init__(self, cfg: TransformerBridgeConfig, blocks: Iterable[nn.Module], ln_final: nn.Module) -> None:
        super().__init__()
        self.cfg = cfg
        self.embed, self.hook_embed = HookedEmbed(cfg.d_vocab, cfg.d_model), HookPoint()
        self.has_positions = cfg.positional_embedding_type == "standard"
        if self.has_positions:
            self.pos_embed, self.hook_pos_embed = HookedPosEmbed(cfg.n_ctx, cfg.d_model), HookPoint()
        self.blocks: Any = nn.ModuleList(blocks)
        self.ln_final: Any = ln_final
        self.unembed = HookedUnembed(cfg.d_model, cfg.d_vocab_out)
        self.setup()

    W_E = property(lambda self: self.embed.W_E)
    W_pos = property(lambda self: self.pos_embed.W_pos)
    W_E_pos = property(lambda self: torch.cat([self.W_E, self.W_pos]))
    W_U = property(lambda self: self.unembed.W_U)
    b_U = property(lambda self: self.unembed.b_U)
    W_Q, W_K, W_V, W_O = (_of_blocks("attn", name) for name in ("W_Q", "W_K", "W_V", "W_O"))
    b_Q, b_K, b_V, b_O = (_of_blocks("attn", name) for name in ("b_Q", "b_K", "b_V", "b_O"))
    W_in, b_in, W_out, b_out = (_of_blocks("mlp", name) for name in ("W_in", "b_in", "W_out", "b_out"))

    @property
    def QK(self) -> FactoredMatrix:
        """The matrix through which each head compares two residual streams [layer head d_model d_model]."""
        return FactoredMatrix(self.W_Q, self.W_K.transpose(-2, -1))

    @property
    def OV(self) -> FactoredMatrix:
        """The matrix through which each head copies a residual stream, fixed factors of the body included.

        Its shape is [layer head d_model d_model].
        """
        outputs = [times(_factors(block).head, block.attn.W_O) for block in self.blocks]
        return FactoredMatrix(self.W_V, torch.stack(outputs))

    def forward(
        self,
        input: Int64[Tensor, "*batch pos"] | Float[Tensor, "*batch pos width"],
        return_type: Literal["logits", "loss", "both"] | None = "logits",
        *,
        loss_per_token: bool = False,
        prepend_bos: bool | None = None,
        start_at_layer: int | None = None,
        stop_at_layer: int | None = None,
        tokens: Int64[Tensor, "batch pos"] | None = None,
        attention_mask: Int[Tensor, "batch pos"] | None = None,
        past_kv_cache: TransformerLensKeyValueCache | None = None,
    ) -> Any:
        """Logits, the loss at predicting the next token, both as an Output, or None, as ``return_type`` says.

        Args:
            input: tokens or vectors; with ``start_at_layer``, the residual stream that this layer is to read.
            prepend_bos: makes no difference, as in HookedTransformer where the input is not text.
            stop_at_layer: returns the residual stream that this layer would have read.
            tokens: what the loss scores if ``input`` is not tokens.
            attention_mask: 0 at positions that are not to be seen, 1 elsewhere.
            past_kv_cache: keys and values of the positions before; those of ``input`` are appended.

        Raises:
            ValueError: more positions than ``n_ctx``, a loss without tokens, or an unknown ``return_type``.
        """
        if return_type not in ("logits", "loss", "both", None):
            raise ValueError(f"return_type={return_type!r} is not 'logits', 'loss', 'both' or None")
        input = input[None] if input.ndim == 1 + input.is_floating_point() else input
        tokens = tokens if input.is_floating_point() else input
        mask = self._mask(input, attention_mask, past_kv_cache)
        residual = input if start_at_layer is not None else self._read_in(input, mask)
        visible = _visible(residual.shape[1], mask, residual.device)
        for layer in range(self.cfg.n_layers)[start_at_layer:stop_at_layer]:
            past = None if past_kv_cache is None else past_kv_cache[layer]
            residual = self.blocks[layer](residual, visible, past)
        if stop_at_layer is not None:
            return residual
        residual = self.ln_final(residual)
        if return_type is None:
            return None
        logits = self.unembed(residual)
        if return_type == "logits":
            return logits
        if tokens is None:
            raise ValueError(f"return_type={return_type!r} scores next tokens: pass tokens=...")
        loss = self.loss_fn(logits, tokens, mask, loss_per_token)
        return loss if return_type == "loss" else Output(logits, loss)

    def _mask(
        self, input: Tensor, mask: Int[Tensor, "batch pos"] | None, past: TransformerLensKeyValueCache | None
    ) -> Int[Tensor, "batch key_pos"] | None:
        """The attention mask of all positions, those of the past included."""
        if mask is not None:
            mask = mask.to(self.W_E.device)
        if past is None:
            return mask
        new = torch.ones(input.shape[:2], dtype=torch.int, device=self.W_E.device)
        return past.append_attention_mask(new if mask is None else mask)

    def _read_in(self, input: Tensor, mask: Int[Tensor, "batch key_pos"] | None) -> Float[Tensor, "batch pos d_model"]:
        residual = self.hook_embed(self.embed(input))
        if self.has_positions:
            residual = residual + self.hook_pos_embed(self.pos_embed(*input.shape[:2], mask))
        return residual

    def loss_fn(
        self,
        logits: Float[Tensor, "batch pos d_vocab_out"],
        tokens: Int64[Tensor, "batch pos"],
        attention_mask: Int[Tensor, "batch pos"] | None = None,
        per_token: bool = False,
    ) -> Float[Tensor, "*loss"]:
        """The cross-entropy of every next token, in nats: the mean, or ``per_token`` [batch pos-1]."""
        return lm_cross_entropy_loss(logits, tokens.to(logits.device), attention_mask, per_token)

    def run_with_cache(
        self, *model_args: Any, return_cache_object: bool = True, remove_batch_dim: bool = False, **kwargs: Any
    ) -> tuple[Any, Any]:
        """What the model returns, and an ActivationCache, or a dict without ``return_cache_object``."""
        out, cache = super().run_with_cache(*model_args, remove_batch_dim=remove_batch_dim, **kwargs)
        return out, ActivationCache(cache, self, has_batch_dim=not remove_batch_dim) if return_cache_object else cache

    def check_hooks_to_add(self, hook_point: HookPoint, hook_point_name: str, *args: Any, **kwargs: Any) -> None:
        """Refuse a hook that would never be called.

        Raises:
            AssertionError: the flag of that hook point is off; HookedTransformer raises the same.
        """
        for flag, endings in FLAGGED_HOOKS.items():
            if hook_point_name.endswith(endings) and not getattr(self.cfg, flag):
                raise AssertionError(f"{hook_point_name} is not called; first call model.set_{flag}(True)")

    def set_use_attn_result(self, use_attn_result: bool) -> None:
        """Switch ``attn.hook_result``, what each head writes [batch pos head d_model], on or off."""
        self.cfg.use_attn_result = use_attn_result

    def set_use_split_qkv_input(self, use_split_qkv_input: bool) -> None:
        """Switch ``hook_q_input``, ``hook_k_input`` and ``hook_v_input`` [batch pos head d_model] on or off."""
        self.cfg.use_split_qkv_input = use_split_qkv_input

    def set_use_attn_in(self, use_attn_in: bool) -> None:
        """Switch ``hook_attn_in`` [batch pos head d_model] on or off."""
        self.cfg.use_attn_in = use_attn_in

    def set_use_hook_mlp_in(self, use_hook_mlp_in: bool) -> None:
        """Switch ``hook_mlp_in`` [batch pos d_model] on or off."""
        self.cfg.use_hook_mlp_in = use_hook_mlp_in

    def tokens_to_residual_directions(self, tokens: int | Int64[Tensor, "*shape"]) -> Float[Tensor, "*shape d_model"]:
        """The columns of ``W_U`` that make these tokens' logits; a single token's has the shape [d_model]."""
        is_one = not isinstance(tokens, Tensor) or tokens.numel() == 1
        return self.W_U[:, int(tokens)] if is_one else self.W_U.T[tokens]

    def accumulated_bias(
        self, layer: int, mlp_input: bool = False, include_mlp_biases: bool = True
    ) -> Float[Tensor, " d_model"]:
        """What is left of all biases that were added to the residual stream before a layer, or before its MLP.

        Their sum, unless the body scales what is added, or the residual stream wherever something is.
        """
        total = torch.zeros_like(self.ln_final.w)
        for index, block in enumerate(self.blocks[: layer + mlp_input]):
            factors = _factors(block)
            total = times(factors.skip, total) + times(factors.attn_out, block.attn.b_O)
            if index < layer:
                bias = times(factors.mlp_out, block.mlp.b_out) if include_mlp_biases else 0
                total = times(factors.skip, total) + bias
        return total

    def _apply(self, fn: Any, recurse: bool = True) -> HookedDecoder:
        """Keep ``cfg`` true when ``to``, ``cuda`` or ``double`` moves the model: the cache and ``patching`` read it."""
        super()._apply(fn, recurse)
        self.cfg.device, self.cfg.dtype = str(self.W_E.device), self.W_E.dtype
        return self


def _factors(block: nn.Module) -> Factors:
    """The fixed factors in a block; bodies without any have no such attribute."""
    return getattr(block, "factors", NO_FACTORS)


def _visible(
    n_pos: int, mask: Int[Tensor, "batch key_pos"] | None, device: torch.device
) -> Bool[Tensor, "#batch 1 query_pos key_pos"]:
    """Which positions each query may see: those up to its own that the mask does not hide."""
    n_keys = n_pos if mask is None else mask.shape[1]
    causal = torch.ones(n_pos, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_pos)
    return causal[None, None] if mask is None else causal & (mask != 0)[:, None, None]
