"""Models to open up. The only place that constructs a HookedTransformer; importing transformer_lens takes seconds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jaxtyping import Float32
from torch import Tensor, nn

from rtinterp.models.bodies import BodySpec, hooked_model, model_parameters
from rtinterp.models.initialisation import initial_tensors
from rtinterp.models.transformer.spec import LAYER_NORM_EPS, ModelSpec
from rtinterp.tasks import Task

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer

    from rtinterp.models.recurrent.hooked import HookedRecurrent


def build_model(task: Task, spec: BodySpec, seed: int, device: str = "cpu") -> HookedTransformer | HookedRecurrent:
    """A model for the task at its initial values; the body is a function of ``(spec, seed)`` alone.

    Raises:
        ImportError: transformer-lens is missing.
    """
    return hooked_model(task, spec, initial_tensors(spec, task.d_vocab, task.n_ctx, seed), device)


def hooked_transformer(
    task: Task, spec: ModelSpec, tensors: Mapping[str, Float32[Tensor, ...]], device: str = "cpu"
) -> HookedTransformer:
    """A HookedTransformer with exactly these tensors, by TransformerLens name, and the spec's attention.

    Its ``never_trained`` names what no regime trains: the unembedding bias, and positions that are sinusoidal.

    Raises:
        ValueError: the tensors are not those of the model.
    """
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    config = HookedTransformerConfig(
        n_layers=spec.n_layers,
        d_model=spec.d_model,
        n_heads=spec.n_heads,
        d_head=spec.d_head,
        d_mlp=spec.d_mlp,
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
    if spec.attention == "prefix_sum":
        from rtinterp.models.transformer.linearised import linearise

        linearise(model)
    load_exactly(model, tensors)
    model.never_trained = frozenset(p.name for p in model_parameters(spec, task.d_vocab, task.n_ctx) if not p.trains)
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
