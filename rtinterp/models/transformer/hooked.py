"""Models to open up. The only place that constructs a HookedTransformer; importing transformer_lens takes seconds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jaxtyping import Float32
from torch import Tensor, nn

from rtinterp.models.layers import LAYER_NORM_EPS
from rtinterp.models.transformer.architecture import TransformerArchitecture
from rtinterp.tasks import Task

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer


def hooked_transformer(
    task: Task, architecture: TransformerArchitecture, tensors: Mapping[str, Float32[Tensor, ...]], device: str = "cpu"
) -> HookedTransformer:
    """A HookedTransformer with exactly these tensors, by TransformerLens name, and the architecture's attention.

    Raises:
        ValueError: the tensors are not those of the model.
    """
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    config = HookedTransformerConfig(
        n_layers=architecture.n_layers,
        d_model=architecture.d_model,
        n_heads=architecture.n_heads,
        d_head=architecture.d_head,
        d_mlp=architecture.d_mlp,
        d_vocab=task.d_vocab,
        n_ctx=task.n_ctx,
        act_fn="gelu_new",
        normalization_type="LN",
        eps=LAYER_NORM_EPS,
        positional_embedding_type="standard",
        attention_dir="causal",
        init_weights=False,
        device=device,
        model_name=f"random-transformer-{task.name}",
    )
    with warnings.catch_warnings():
        # 3.x announces TransformerBridge here; pyproject.toml keeps to 3.x.
        warnings.simplefilter("ignore", DeprecationWarning)
        model = HookedTransformer(config)
    if architecture.attention == "prefix_sum":
        from rtinterp.models.transformer.linearised import linearise

        linearise(model)
    load_exactly(model, tensors)
    return model.eval()


def load_exactly(model: nn.Module, tensors: Mapping[str, Float32[Tensor, ...]]) -> None:
    """Copy the tensors into the model's parameters.

    Raises:
        ValueError: a parameter has no tensor, or a tensor no parameter.
    """
    buffers = {name for name, _ in model.named_buffers()}
    missing, unexpected = model.load_state_dict(dict(tensors), strict=False)
    if unexpected or set(missing) - buffers:
        raise ValueError(f"tensors do not make a model: missing {sorted(set(missing) - buffers)}, unknown {unexpected}")
