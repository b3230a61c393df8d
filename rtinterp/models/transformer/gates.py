"""What gates leave of a head's state, position by position, and what queries take from it all at once.

A head of gated linear attention (Yang, Wang, Shen, Panda and Kim 2024, arXiv 2312.06635) is a linear recurrent network
whose state, a matrix, fades at every position by as much as the token says, each dimension of the keys by its own gate:
S_t = diag(a_t) S_{t-1} + k_t v_t^T with a_t = sigmoid(x_t W_G + b_G)^(1/16), and a query reads S_t^T q_t / sqrt(d).
W_G is a full matrix like the other maps, where the paper has a product of two narrow ones, and there is neither its
output gate nor its norm. A gate for every dimension, not one for a whole head, lets a head keep one thing while it
forgets another.

All at once, query i takes from value j the sum over dimensions of q_i k_j exp(c_i - c_j) / sqrt(d), where c is the
running sum of the gates' logarithms. Of exp(c_i) and exp(-c_j), one would vanish and the other overflow in a long
sequence. So keys come in chunks, and both exponents count from the middle of the key's chunk: with gates of exp(-10) or
more, which a sigmoid reaches at -160, none that counts exceeds 40, however long the sequence is.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

GATED: Literal["gated_linear"] = "gated_linear"
#: The root that is taken of a sigmoid: at zero, 4 % of the state fade at every position.
GATE_ROOT = 16
#: Positions of a chunk, and the logarithm of the least gate.
KEYS_PER_CHUNK, LEAST_LOG_GATE = 8, -10.0
#: No exponent of a key exceeds this, nor one of a query that sees the key.
LARGEST_EXPONENT = -LEAST_LOG_GATE * KEYS_PER_CHUNK / 2


def gate_logarithms(opening: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """What the map of the gates gives, as the logarithms of these."""
    return (F.logsigmoid(opening.float()) / GATE_ROOT).clamp(min=LEAST_LOG_GATE)


def running_sum(log_gates: Float[Tensor, "*batch pos d_head"]) -> Float[Tensor, "*batch pos d_head"]:
    """The logarithm of all that is left of the first position at each; differences of far positions need precision."""
    dtype = torch.float32 if log_gates.shape[-2] <= KEYS_PER_CHUNK else torch.float64
    return log_gates.cumsum(-2, dtype=dtype)


def gated_pattern(
    q: Float[Tensor, "*batch query_pos d_head"],
    k: Float[Tensor, "*batch key_pos d_head"],
    left_at_query: Float[Tensor, "*batch query_pos d_head"],
    left_at_key: Float[Tensor, "*batch key_pos d_head"],
    visible: Bool[Tensor, "*#batch query_pos key_pos"],
) -> Float[Tensor, "*batch query_pos key_pos"]:
    """How much each query takes from each key: nothing where nothing is visible.

    Args:
        left_at_query: the running sum at the positions of the queries.
        left_at_key: and at those of the keys.
        visible: at most the keys up to the query's position.
    """
    q, columns = q.float() / math.sqrt(q.shape[-1]), []
    for keys, left in zip(k.float().split(KEYS_PER_CHUNK, -2), left_at_key.split(KEYS_PER_CHUNK, -2), strict=True):
        middle = left[..., (left.shape[-2] - 1) // 2, None, :]
        faded_queries = q * (left_at_query - middle).float().clamp(max=LARGEST_EXPONENT).exp()
        columns.append(faded_queries @ (keys * (middle - left).float().exp()).mT)
    return torch.cat(columns, -1).masked_fill(~visible, 0.0)


def gated_states(
    k: Float[Tensor, "batch pos head d_head"],
    v: Float[Tensor, "batch pos head d_head"],
    log_gates: Float[Tensor, "batch pos head d_head"],
    seen: Bool[Tensor, "#batch pos"],
) -> Float[Tensor, "batch pos head d_head_of_key d_head"]:
    """Each head's state after every position, one after the other: slower than the pattern, and plainly right.

    Args:
        seen: False at positions that add nothing.
    """
    added = torch.einsum("bphi,bphj->bphij", k, v) * seen[..., None, None, None]
    states = [added[:, 0]]
    for position in range(1, k.shape[1]):
        states.append(log_gates[:, position].exp().unsqueeze(-1) * states[-1] + added[:, position])
    return torch.stack(states, 1)
