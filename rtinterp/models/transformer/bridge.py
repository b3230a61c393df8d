"""A model as TransformerLens 4's own class."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel


def to_bridge(model: HookedModel) -> Any:
    """A copy of the model as TransformerBridge, the class that took HookedTransformer's place in TransformerLens 4.

    Its logits and cached values are the model's, and decompositions and patching give the same. It differs in what it
    does with hooks (seen in 4.0 to 4.3), so what you change should be changed in the model itself:

    - A tensor *returned* at ``hook_resid_mid`` changes what the MLP reads and not the residual stream.
    - ``hook_attn_scores`` holds the pattern after the softmax; writing there has no effect but a warning.
    - ``set_use_attn_result``, ``set_use_split_qkv_input`` and ``set_use_attn_in`` are not implemented.
    - Parameters have other names, such as ``blocks.0.attn.q.weight``, and a bridge that has run cannot be pickled.

    Args:
        model: ``run.model`` of a transformer with GPT-2's blocks, whose inputs are tokens.

    Raises:
        ImportError: the installed transformer-lens is older than 4.0.
        ValueError: a TransformerBridge cannot express the model.
    """
    try:
        conversion = importlib.import_module("transformer_lens.utilities.tl_checkpoint_conversion")
    except ImportError as error:
        raise ImportError(
            f"to_bridge needs transformer-lens 4.0 or newer, and {version('transformer-lens')} is installed; "
            "where it is older, run.model of a GPT-2 body is a HookedTransformer"
        ) from error
    from transformer_lens.model_bridge import TransformerBridge

    from rtinterp.models.hooked_decoder import HookedDecoder

    if not isinstance(model, HookedDecoder) or not all(getattr(block, "is_gpt2", False) for block in model.blocks):
        raise ValueError(f"a TransformerBridge cannot express this {type(model).__name__}; only GPT-2's blocks")
    # The layers of the bridge draw their initial values from the global generator.
    with torch.random.fork_rng(devices=[]):
        bridge = TransformerBridge.boot_native(model.cfg, device=model.cfg.device, dtype=model.cfg.dtype)
    bridge.load_state_dict(conversion.convert_tl_checkpoint(model.state_dict(), bridge.cfg))
    return bridge.eval()
