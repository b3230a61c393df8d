"""GPT-2 as Hugging Face builds and runs it, and planted weights that leave no part of a model idle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from rtinterp.models.transformer.spec import ModelSpec

#: What a random transformer trains, written out.
EMBEDDINGS = {"embed.W_E", "pos_embed.W_pos", "unembed.W_U"}

UNEMBEDDING_BIAS = "unembed.b_U"


def planted_tensors(spec: ModelSpec, d_vocab: int, n_ctx: int, seed: int) -> dict[str, Tensor]:
    """Large weights, random biases and gains: attention is sharp and no term vanishes. GPT-2 has no ``b_U``."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: tensor if name == UNEMBEDDING_BIAS else 5 * tensor + 0.1 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in spec.initial_tensors(d_vocab, n_ctx, seed).items()
    }


def gpt2(spec: ModelSpec, d_vocab: int, n_ctx: int, seed: int = 0) -> GPT2LMHeadModel:
    """Hugging Face's GPT-2 at its own initial values."""
    config = GPT2Config(
        vocab_size=d_vocab,
        n_positions=n_ctx,
        n_embd=spec.d_model,
        n_layer=spec.n_layers,
        n_head=spec.n_heads,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config).eval()


def gpt2_state(spec: ModelSpec, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under Hugging Face's names; its Conv1D weights are [d_in, d_out], as ours are."""
    state = {
        "transformer.wte.weight": tensors["embed.W_E"],
        "transformer.wpe.weight": tensors["pos_embed.W_pos"],
        "transformer.ln_f.weight": tensors["ln_final.w"],
        "transformer.ln_f.bias": tensors["ln_final.b"],
        "lm_head.weight": tensors["unembed.W_U"].T,
    }
    for layer in range(spec.n_layers):
        ours, theirs = f"blocks.{layer}", f"transformer.h.{layer}"
        for n in (1, 2):
            state[f"{theirs}.ln_{n}.weight"] = tensors[f"{ours}.ln{n}.w"]
            state[f"{theirs}.ln_{n}.bias"] = tensors[f"{ours}.ln{n}.b"]
        heads = [[tensors[f"{ours}.attn.W_{x}"][head] for head in range(spec.n_heads)] for x in "QKV"]
        state[f"{theirs}.attn.c_attn.weight"] = torch.cat([torch.cat(of_x, dim=1) for of_x in heads], dim=1)
        state[f"{theirs}.attn.c_attn.bias"] = torch.cat([tensors[f"{ours}.attn.b_{x}"].flatten() for x in "QKV"])
        state[f"{theirs}.attn.c_proj.weight"] = torch.cat(list(tensors[f"{ours}.attn.W_O"]), dim=0)
        state[f"{theirs}.attn.c_proj.bias"] = tensors[f"{ours}.attn.b_O"]
        state[f"{theirs}.mlp.c_fc.weight"] = tensors[f"{ours}.mlp.W_in"]
        state[f"{theirs}.mlp.c_fc.bias"] = tensors[f"{ours}.mlp.b_in"]
        state[f"{theirs}.mlp.c_proj.weight"] = tensors[f"{ours}.mlp.W_out"]
        state[f"{theirs}.mlp.c_proj.bias"] = tensors[f"{ours}.mlp.b_out"]
    return state


@torch.no_grad()
def gpt2_logits(spec: ModelSpec, tensors: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
    """Logits of Hugging Face's GPT-2 with our weights."""
    model = gpt2(spec, tensors["embed.W_E"].shape[0], tensors["pos_embed.W_pos"].shape[0])
    model.load_state_dict(gpt2_state(spec, tensors))
    return model(tokens).logits


def python(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()
