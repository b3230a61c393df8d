"""The exported folder, opened by transformers, computes what our model computes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from store_references import tiny_spec

from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.store import StoreError
from rtinterp.store.hugging_face import export_gpt2
from rtinterp.store.training import train
from rtinterp.training.run import Run


def trained(model: ModelSpec | RecurrentSpec, trainable: str) -> Run:
    return train(dataclasses.replace(tiny_spec(trainable), model=model), device="cpu", progress=False)


@pytest.mark.parametrize("trainable", ["embeddings", "all"])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
@pytest.mark.parametrize("init", ["gpt2", "imitation_target"])
def test_logits_are_equal(tmp_path: Path, init: str, positions: str, trainable: str) -> None:
    from transformers import GPT2LMHeadModel

    run = trained(ModelSpec(16, n_layers=3, n_heads=2, init=init, positions=positions), trainable)
    export_gpt2(run, tmp_path / "gpt2")
    theirs, info = GPT2LMHeadModel.from_pretrained(tmp_path / "gpt2", output_loading_info=True)
    assert not any(info.values()), "every weight has its place"
    assert not theirs.config.tie_word_embeddings
    tokens = torch.randint(run.spec.task.d_vocab, (20, 5), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, logits = run.model.double()(tokens), theirs.double().eval()(tokens).logits
    assert expected.abs().max() > 1e-3
    assert torch.allclose(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", [RecurrentSpec(8), ModelSpec(8, attention="prefix_sum")], ids=["lstm", "linearised"])
def test_what_gpt2_cannot_express_is_refused(tmp_path: Path, model: ModelSpec | RecurrentSpec) -> None:
    with pytest.raises(StoreError, match="GPT-2 can express transformers with softmax attention alone"):
        export_gpt2(trained(model, "embeddings"), tmp_path / "gpt2")
    assert not (tmp_path / "gpt2").exists()


def test_nothing_is_written_over_unless_it_is_forced(tmp_path: Path, runs: dict[str, Run]) -> None:
    folder = tmp_path / "gpt2"
    export_gpt2(runs["all"], folder)
    export_gpt2(runs["all"], folder)
    weights = (folder / "model.safetensors").read_bytes()
    with pytest.raises(StoreError, match="holds other files"):
        export_gpt2(runs["embeddings"], folder)
    assert (folder / "model.safetensors").read_bytes() == weights
    export_gpt2(runs["embeddings"], folder, force=True)
    assert (folder / "model.safetensors").read_bytes() != weights
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["GPT2LMHeadModel"]
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
