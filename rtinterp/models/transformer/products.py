"""The matrix products that the scored predictions of a transformer need."""

from __future__ import annotations

from rtinterp.models.products import BatchSize, Stage
from rtinterp.models.transformer.architecture import MLP_EXPANSION, TransformerArchitecture
from rtinterp.models.transformer.gates import GATED

NORM = Stage({"norms": 0})


def transformer_products(architecture: TransformerArchitecture, size: BatchSize) -> tuple[Stage, ...]:
    """The products of all blocks, in order.

    Queries, keys and values of the first block are made for each distinct token at a position, all else of the blocks
    before the last for each distinct prefix, and the last block at scored positions alone. There, where it is cheaper,
    queries go through the key matrix, head by head, and what they mix through the value matrix, in place of keys and
    values.
    """
    *inputs, last_input = [size.n_entries, *[size.n_rows] * (architecture.n_layers - 1)]
    blocks = [_block(architecture, n, n, size.n_rows, size.n_prefix_tokens) for n in inputs]
    last = [_block(architecture, last_input, size.n_scored, size.n_scored, size.n_scored_tokens)]
    if architecture.compares_keys_as_they_are:
        last.append(_last_block_through_keys(architecture, size))
    cheaper = min(last, key=lambda stages: sum(stage.multiplications for stage in stages))
    return (*(stage for block in blocks for stage in block), *cheaper, NORM)


def _block(
    architecture: TransformerArchitecture, n_keys: int, n_queries: int, n_out: int, n_pairs: int
) -> tuple[Stage, ...]:
    d_model, square = architecture.d_model, architecture.d_model**2
    if architecture.mixes_at_random:
        return (NORM, Stage({"ov": n_keys * square}, n_pairs * d_model), *_after_heads(architecture, n_out))
    n_gates = n_keys if architecture.attention == GATED else 0
    qkv = {"qk": (n_queries + n_keys + n_gates) * square, "ov": n_keys * square}
    return (NORM, Stage(qkv, 2 * n_pairs * d_model), *_after_heads(architecture, n_out))


def _last_block_through_keys(architecture: TransformerArchitecture, size: BatchSize) -> tuple[Stage, ...]:
    square = architecture.d_model**2
    n_mixed = size.n_scored_tokens * architecture.n_heads * architecture.d_model
    queries = Stage({"qk": 2 * size.n_scored * square}, 2 * n_mixed)
    return (
        NORM,
        Stage({}, n_mixed) if architecture.mixes_at_random else queries,
        Stage({"ov": size.n_scored * square}),
        *_after_heads(architecture, size.n_scored),
    )


def _after_heads(architecture: TransformerArchitecture, n_rows: int) -> tuple[Stage, ...]:
    square = architecture.d_model**2
    mlp = MLP_EXPANSION * n_rows * square
    mlp_in = Stage({"mlp": 2 * mlp if architecture.mlp == "gated" else mlp})
    return (Stage({"ov": n_rows * square}), NORM, mlp_in, Stage({"mlp": mlp}))
