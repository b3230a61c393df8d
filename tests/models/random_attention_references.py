"""The bodies of Dong, Noci, Khodak and Li (2025) written out, and planted weights that leave no part of one idle."""

from __future__ import annotations

import math

import torch
from model_references import UNEMBEDDING_BIAS
from torch import Tensor

from rtinterp.models.layers import LAYER_NORM_EPS
from rtinterp.models.transformer.presets import llama_like, mixit
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import NeedleInAHaystack

TASK = NeedleInAHaystack(max_pairs=4, n_values=16)
N_POS = TASK.sequence_length

SPECS = {
    "qk_init_std": ModelSpec(16, qk_init_std="inverse_sqrt_width"),
    "random_mixing": ModelSpec(16, n_layers=3, attention="random_mixing"),
    "random_mixing_with_sink": ModelSpec(16, attention="random_mixing_with_sink", mixing_length=N_POS),
    "one_layer_of_mixing": ModelSpec(16, n_layers=1, attention="random_mixing"),
    "linear": ModelSpec(16, n_layers=3, attention="linear"),
    "linear_normalised": ModelSpec(16, attention="linear_normalised"),
    "retention": ModelSpec(16, n_layers=3, attention="retention"),
    "gated_linear": ModelSpec(16, n_layers=3, attention="gated_linear"),
    "rotary": ModelSpec(16, n_layers=3, positions="rotary"),
    "rms_norm": ModelSpec(16, norm="rms_norm"),
    "gated": ModelSpec(16, mlp="gated"),
    "silu": ModelSpec(16, activation="silu"),
    "scaled_leaky_relu": ModelSpec(16, activation="scaled_leaky_relu"),
    "skip_share": ModelSpec(16, skip_share=0.25),
    "width_multipliers": ModelSpec(16, width_multipliers=True),
    "llama_like": llama_like(16),
    "mixit": mixit(16, n_layers=3, mixing_length=N_POS),
    "mixit_text": mixit(16, sink=False),
}


def planted(spec: ModelSpec, seed: int) -> dict[str, Tensor]:
    """Random biases and gains and larger weights, so that no term vanishes; random mixing as it is drawn."""
    generator = torch.Generator().manual_seed(seed)
    tensors = spec.initial_tensors(TASK.d_vocab, TASK.n_ctx, seed)
    for name, tensor in tensors.items():
        if name != UNEMBEDDING_BIAS and not name.endswith("mixing"):
            tensors[name] = 3 * tensor + 0.1 * torch.randn(tensor.shape, generator=generator)
    return tensors


def reference_logits(spec: ModelSpec, tensors: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """The definition in plain loops over heads, in float64, for whatever fields; no part is shared with the package."""
    t = {name: tensor.double() for name, tensor in tensors.items()}
    n, heads = tokens.shape[1], range(spec.n_heads)
    d_head, width = spec.d_model // spec.n_heads, spec.d_model
    usual = math.sqrt(512 / width) if spec.width_multipliers else 1.0
    down = math.sqrt(1 / (4 * width)) if spec.width_multipliers else 1.0
    skip = 1.0 if spec.skip_share is None else math.sqrt(spec.skip_share)
    branch = 1.0 if spec.skip_share is None else math.sqrt(1 - spec.skip_share)

    def norm(x: Tensor, name: str) -> Tensor:
        if spec.norm == "rms_norm":
            return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * t[f"{name}.w"]
        x = x - x.mean(-1, keepdim=True)
        return x / (x.pow(2).mean(-1, keepdim=True) + LAYER_NORM_EPS).sqrt() * t[f"{name}.w"] + t[f"{name}.b"]

    def activation(x: Tensor) -> Tensor:
        if spec.activation == "silu":
            return x / (1 + torch.exp(-x))
        if spec.activation == "gelu_new":
            return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        slope = 1 - width**-0.5
        return torch.where(x > 0, x, slope * x) * math.sqrt(2 / (1 + slope**2))

    def turned(x: Tensor) -> Tensor:
        """Pairs of dimensions as complex numbers, times a root of unity."""
        pairs = torch.complex(x[..., : d_head // 2], x[..., d_head // 2 :])
        rates = 10_000.0 ** (-2 * torch.arange(d_head // 2) / d_head)
        pairs = pairs * torch.exp(1j * torch.arange(n)[:, None] * rates)
        return torch.cat([pairs.real, pairs.imag], -1)

    def recurrent(q: Tensor, k: Tensor, v: Tensor, head: int, gates: Tensor | None) -> Tensor:
        """Attention without softmax, position by position, by a state."""
        if spec.attention == "linear_normalised":
            q, k = (torch.where(x > 0, x + 1, x.exp()) for x in (q, k))
        left = 1 - 2.0 ** (-5 - head) if spec.attention == "retention" else 1.0
        state, seen, read = torch.zeros(len(q), d_head, d_head).double(), torch.zeros(len(q), d_head).double(), []
        for at in range(n):
            left = left if gates is None else gates[:, at, :, None]
            state = left * state + k[:, at, :, None] * v[:, at, None]
            seen = seen + k[:, at]
            taken = (q[:, at, None] @ state)[:, 0]
            divisor = (q[:, at] * seen).sum(-1, keepdim=True) if spec.attention == "linear_normalised" else d_head**0.5
            read.append(taken / divisor)
        return torch.stack(read, 1)

    def attention(x: Tensor, name: str) -> Tensor:
        out = t[f"{name}.b_O"].clone()
        for head in heads:
            v = usual * (x @ t[f"{name}.W_V"][head] + t[f"{name}.b_V"][head])
            if spec.attention in ("linear", "linear_normalised", "retention", "gated_linear"):
                q, k = (x @ t[f"{name}.W_{y}"][head] + t[f"{name}.b_{y}"][head] for y in "QK")
                gates = None
                if spec.attention == "gated_linear":
                    gates = torch.sigmoid(x @ t[f"{name}.W_G"][head] + t[f"{name}.b_G"][head]) ** (1 / 16)
                out = out + recurrent(q, k, v, head, gates) @ t[f"{name}.W_O"][head]
                continue
            if f"{name}.mixing" in t:
                pattern = t[f"{name}.mixing"][head, :n, :n]
            else:
                q, k = (x @ t[f"{name}.W_{y}"][head] + t[f"{name}.b_{y}"][head] for y in "QK")
                if spec.positions == "rotary":
                    q, k = turned(q), turned(k)
                scores = q @ k.mT / d_head**0.5
                pattern = scores.masked_fill(torch.ones(n, n).triu(1).bool(), -math.inf).softmax(-1)
            out = out + pattern @ v @ t[f"{name}.W_O"][head]
        return usual * out

    def mlp(x: Tensor, name: str) -> Tensor:
        hidden = usual * (x @ t[f"{name}.W_in"] + t[f"{name}.b_in"])
        if spec.mlp == "gated":
            hidden = hidden * activation(usual * (x @ t[f"{name}.W_gate"] + t[f"{name}.b_gate"]))
        else:
            hidden = activation(hidden)
        return down * (hidden @ t[f"{name}.W_out"] + t[f"{name}.b_out"])

    x = t["embed.W_E"][tokens]
    if "pos_embed.W_pos" in t:
        x = x + t["pos_embed.W_pos"][:n]
    for layer in range(spec.n_layers):
        block = f"blocks.{layer}"
        x = skip * x + branch * attention(norm(x, f"{block}.ln1"), f"{block}.attn")
        x = skip * x + branch * mlp(norm(x, f"{block}.ln2"), f"{block}.mlp")
    return usual * norm(x, "ln_final") @ t["unembed.W_U"]


def llama_state(spec: ModelSpec, tensors: dict[str, Tensor], biases: bool) -> dict[str, Tensor]:
    """Our tensors under Hugging Face's names, whose weights are [d_out, d_in]."""
    state = {
        "model.embed_tokens.weight": tensors["embed.W_E"],
        "model.norm.weight": tensors["ln_final.w"],
        "lm_head.weight": tensors["unembed.W_U"].T,
    }
    for layer in range(spec.n_layers):
        ours, theirs = f"blocks.{layer}", f"model.layers.{layer}"
        state[f"{theirs}.input_layernorm.weight"] = tensors[f"{ours}.ln1.w"]
        state[f"{theirs}.post_attention_layernorm.weight"] = tensors[f"{ours}.ln2.w"]
        for x in "QKV":
            state[f"{theirs}.self_attn.{x.lower()}_proj.weight"] = tensors[f"{ours}.attn.W_{x}"].mT.flatten(0, 1)
            state[f"{theirs}.self_attn.{x.lower()}_proj.bias"] = tensors[f"{ours}.attn.b_{x}"].flatten()
        state[f"{theirs}.self_attn.o_proj.weight"] = tensors[f"{ours}.attn.W_O"].flatten(0, 1).T
        state[f"{theirs}.self_attn.o_proj.bias"] = tensors[f"{ours}.attn.b_O"]
        for x, name in (("gate", "gate"), ("in", "up"), ("out", "down")):
            state[f"{theirs}.mlp.{name}_proj.weight"] = tensors[f"{ours}.mlp.W_{x}"].T
            state[f"{theirs}.mlp.{name}_proj.bias"] = tensors[f"{ours}.mlp.b_{x}"]
    return {name: tensor for name, tensor in state.items() if biases or not name.endswith("bias")}
