"""Models to open up. The only place that constructs a HookedTransformer; importing transformer_lens takes seconds."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jaxtyping import Float32
from torch import Tensor

from rtinterp.models.layers import LAYER_NORM_EPS
from rtinterp.models.transformer.architecture import TransformerArchitecture
from rtinterp.models.transformer.multipliers import Factors
from rtinterp.models.transformer.norms import RMS_NORM_EPS
from rtinterp.tasks import Task

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer

    from rtinterp.models.hooked_decoder import HookedDecoder

#: What TransformerLens calls activations; it has no scaled one.
ACT_FN = {"gelu_new": "gelu_new", "silu": "silu", "scaled_leaky_relu": "leaky_relu"}


def hooked_transformer(
    task: Task, architecture: TransformerArchitecture, tensors: Mapping[str, Float32[Tensor, ...]], device: str = "cpu"
) -> HookedTransformer | HookedDecoder:
    """A model with exactly these tensors, by TransformerLens name, and the architecture's attention.

    It is a HookedTransformer where TransformerLens has that class (before 4.0) and it can express the body and read
    what the task's models read, and otherwise a HookedDecoder, which has the same parameters and hook points.

    Raises:
        ValueError: the tensors are not those of the model.
    """
    from rtinterp.models.loading import load_exactly

    can_be_theirs = architecture.has_gpt2_blocks and task.reads == "tokens" and has_hooked_transformer()
    model = _their_model(task, architecture, device) if can_be_theirs else hooked_decoder(task, architecture, device)
    load_exactly(model, tensors)
    return model.eval()


def has_hooked_transformer() -> bool:
    """Whether the installed TransformerLens has HookedTransformer; 4.x raises ImportError even for ``hasattr``."""
    try:
        from transformer_lens import HookedTransformer  # noqa: F401
    except ImportError:
        return False
    return True


def _their_model(task: Task, architecture: TransformerArchitecture, device: str) -> HookedTransformer:
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    with warnings.catch_warnings():
        # 3.x announces here that 4.0 removes the class.
        warnings.simplefilter("ignore", DeprecationWarning)
        return HookedTransformer(HookedTransformerConfig(**_config_fields(task, architecture, device)))


def hooked_decoder(task: Task, architecture: TransformerArchitecture, device: str = "cpu") -> HookedDecoder:
    """Our own model of the architecture, with whichever TransformerLens; its parameters start as zeros."""
    from transformer_lens.config import TransformerBridgeConfig

    from rtinterp.models.hooked_decoder import HookedDecoder
    from rtinterp.models.transformer.hooked_block import HookedBlock
    from rtinterp.models.transformer.hooked_parts import attention, mlp, norm

    cfg = TransformerBridgeConfig(**_config_fields(task, architecture, device))
    blocks = (
        HookedBlock(
            cfg,
            attention(cfg, architecture),
            mlp(architecture),
            functools.partial(norm, architecture=architecture),
            Factors.of(architecture),
        )
        for _ in range(architecture.n_layers)
    )
    # The unembedding's factor is on what it reads.
    ln_final = norm(cfg, architecture, Factors.of(architecture).usual)
    return HookedDecoder(cfg, blocks, ln_final).to(device)


def _config_fields(task: Task, architecture: TransformerArchitecture, device: str) -> dict[str, Any]:
    """What both configurations of TransformerLens have; what is not named here has their default."""
    return {
        "n_layers": architecture.n_layers,
        "d_model": architecture.d_model,
        "n_heads": architecture.n_heads,
        "d_head": architecture.d_head,
        "d_mlp": architecture.d_mlp,
        "d_vocab": task.d_vocab,
        "d_vocab_out": task.d_vocab_out,
        "n_ctx": task.n_ctx,
        "act_fn": ACT_FN[architecture.activation],
        "normalization_type": "LN" if architecture.norm == "layer_norm" else "RMS",
        "eps": LAYER_NORM_EPS if architecture.norm == "layer_norm" else RMS_NORM_EPS,
        "positional_embedding_type": "rotary" if architecture.positions == "rotary" else "standard",
        "gated_mlp": architecture.mlp == "gated",
        "attention_dir": "causal",
        "init_weights": False,
        "device": device,
        "model_name": f"random-transformer-{task.name}",
    }
