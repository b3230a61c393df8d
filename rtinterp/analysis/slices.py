"""How many sequences run at a time: as many as keep the largest activation of a pass below a number of numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from jaxtyping import Float, Int64
from torch import Tensor

#: A HookedTransformer, a HookedRecurrent, or anything else that makes logits of tokens; perhaps on another device.
Model: TypeAlias = Callable[[Int64[Tensor, "batch pos"]], Float[Tensor, "batch pos d_vocab_out"]]

#: Of the largest tensor of a forward pass, 256 MiB as float32.
ACTIVATIONS_PER_PASS = 2**26
#: The same where nobody's hooks expect whole batches: 16 MiB. From 32 MiB on, a CPU's memory is mapped anew for every
#: tensor, which takes longer than an activation function does.
ACTIVATIONS_PER_SLICE = 2**22
#: Numbers at a position of a model that does not say how large it is.
UNKNOWN_WIDTH = 4096


def rows_of(n_activations: int, model: Model, n_pos: int) -> int:
    """Count the sequences of so many positions whose largest activation has so many numbers; at least one."""
    cfg = getattr(model, "cfg", None)
    if cfg is None:
        return max(1, n_activations // (n_pos * UNKNOWN_WIDTH))
    sizes = (cfg.d_model, cfg.d_vocab_out, getattr(cfg, "d_mlp", 0), getattr(cfg, "n_heads", 0) * n_pos)
    return max(1, n_activations // (n_pos * max(sizes)))
