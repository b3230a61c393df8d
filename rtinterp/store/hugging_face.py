"""A trained transformer as a folder that Hugging Face's ``GPT2LMHeadModel`` opens, with equal logits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from einops import rearrange
from jaxtyping import Float32
from torch import Tensor

from rtinterp.models.parameters import POSITIONAL_EMBEDDING, TOKEN_EMBEDDING, UNEMBEDDING, UNEMBEDDING_BIAS
from rtinterp.store.errors import StoreError, explain, one_line
from rtinterp.store.files import holds, write_file
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


def export_gpt2(run: Run, folder: Path, *, force: bool = False) -> None:
    """Write ``config.json`` and ``model.safetensors``; equal files that are already there stay.

    Raises:
        StoreError: GPT-2 cannot express the model, other files are there and ``force`` is not given, or the folder
            cannot be written.
    """
    weights = gpt2_weights(run)
    files = {
        CONFIG_FILE: (json.dumps(gpt2_config(run.spec), indent=2) + "\n").encode(),
        WEIGHTS_FILE: safetensors.torch.save(weights, {"format": "pt"}),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted(one_line(path.name) for path in folder.iterdir() if not holds(path, files.get(path.name)))
    except (OSError, ValueError) as error:
        raise StoreError(f"{one_line(folder)}: cannot be written: {explain(error)}") from error
    if others and not force:
        raise StoreError(f"{one_line(folder)}: holds other files ({others[0]}); choose a new folder, or pass --force")
    for name, data in files.items():
        if not holds(folder / name, data):
            write_file(folder / name, data, force=force)


def gpt2_config(spec: RunSpec) -> dict[str, object]:
    """What ``GPT2Config`` takes.

    Raises:
        StoreError: GPT-2 cannot express the model.
    """
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": spec.task.d_vocab,
        "n_positions": spec.task.n_ctx,
        **_body_config(spec),
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "scale_attn_weights": True,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
        "torch_dtype": "float32",
    }


def gpt2_weights(run: Run) -> dict[str, Float32[Tensor, ...]]:
    """Every parameter of a ``GPT2LMHeadModel``, by its name there.

    Raises:
        StoreError: GPT-2 cannot express the model.
    """
    _body_config(run.spec)
    tensors = run.tensors()
    if tensors[UNEMBEDDING_BIAS].any():
        raise StoreError("GPT-2 has no bias in its unembedding, and this model's is not zero")
    weights = {
        "transformer.wte.weight": tensors[TOKEN_EMBEDDING],
        "transformer.wpe.weight": tensors[POSITIONAL_EMBEDDING],
        "transformer.ln_f.weight": tensors["ln_final.w"],
        "transformer.ln_f.bias": tensors["ln_final.b"],
        "lm_head.weight": tensors[UNEMBEDDING].T,
    }
    for layer in range(run.spec.model.n_layers):
        block = {name.removeprefix(f"blocks.{layer}."): t for name, t in tensors.items() if f"blocks.{layer}." in name}
        weights |= {f"transformer.h.{layer}.{name}": tensor for name, tensor in _block(block).items()}
    return {name: tensor.contiguous() for name, tensor in weights.items()}


def _block(tensors: Mapping[str, Float32[Tensor, ...]]) -> dict[str, Float32[Tensor, ...]]:
    """One block; the matrices of a Conv1D are ``[in, out]``, as ours, with the heads side by side."""
    qkv = [rearrange(tensors[f"attn.W_{x}"], "head d_model d_head -> d_model (head d_head)") for x in "QKV"]
    return {
        "ln_1.weight": tensors["ln1.w"],
        "ln_1.bias": tensors["ln1.b"],
        "attn.c_attn.weight": torch.cat(qkv, -1),
        "attn.c_attn.bias": torch.cat([tensors[f"attn.b_{x}"].flatten() for x in "QKV"]),
        "attn.c_proj.weight": tensors["attn.W_O"].flatten(0, 1),
        "attn.c_proj.bias": tensors["attn.b_O"],
        "ln_2.weight": tensors["ln2.w"],
        "ln_2.bias": tensors["ln2.b"],
        "mlp.c_fc.weight": tensors["mlp.W_in"],
        "mlp.c_fc.bias": tensors["mlp.b_in"],
        "mlp.c_proj.weight": tensors["mlp.W_out"],
        "mlp.c_proj.bias": tensors["mlp.b_out"],
    }


def _body_config(spec: RunSpec) -> dict[str, object]:
    config, task = spec.model.gpt2_config(), spec.task
    if config is None or task.reads != "tokens" or task.d_vocab_out != task.d_vocab:
        raise StoreError(
            f"{spec.run_id}: is a model of kind {spec.model.label!r} from {task.d_vocab} {task.reads} to "
            f"{task.d_vocab_out}; GPT-2 can express transformers with softmax attention alone, from tokens to the same "
            "tokens. Export it as one portable file, without --format"
        )
    return config
