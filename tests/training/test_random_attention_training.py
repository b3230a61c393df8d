"""The bodies of random attention in the engine: gradients under any regime; what is frozen stays as it was drawn."""

from __future__ import annotations

import json

import pytest
import torch
from training_references import CPU, TASKS, mean_loss, plant

from rtinterp.models.build import hooked_model
from rtinterp.models.fingerprint import fingerprint
from rtinterp.models.regimes import TRAINABLE, freeze
from rtinterp.models.transformer.presets import llama_like, mixit
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.store.training import train
from rtinterp.tasks import KHopInduction, Task
from rtinterp.training.engine import Engine
from rtinterp.training.spec import RunSpec, TrainSpec, spec_from_json, spec_to_json
from rtinterp.training.stream import TrainingStream

NEEDLE, DECIMAL = TASKS[1], TASKS[2]
TRAINING = TrainSpec(n_steps=8, batch_size=16, learning_rate=3e-2, n_warmup_steps=0, steps_per_evaluation=4)

BODIES = {
    "llama_like": llama_like(16),
    "mixit": mixit(16),
    "mixit_text": mixit(16, n_layers=1, sink=False),
    "random_mixing": ModelSpec(16, attention="random_mixing"),
    "skip_share": ModelSpec(16, skip_share=0.25),
    "linear": ModelSpec(16, attention="linear"),
    "linear_normalised": ModelSpec(16, attention="linear_normalised"),
    "retention": ModelSpec(16, attention="retention"),
    "gated_linear": ModelSpec(16, attention="gated_linear"),
}
REGIMES = (*TRAINABLE, "token_embedding+norms", "mlp", "ov+mlp")
CASES = [
    *((NEEDLE, body, trainable) for body in ("llama_like", "mixit", "gated_linear") for trainable in REGIMES),
    *((DECIMAL, body, trainable) for body in BODIES for trainable in ("frozen_qk", "embeddings")),
    *((NEEDLE, body, "all") for body in ("linear", "linear_normalised", "retention")),
]


@pytest.mark.parametrize(("task", "body", "trainable"), CASES, ids=[f"{b}-{r}-{t.name}" for t, b, r in CASES])
def test_gradients_are_those_of_autograd_through_the_hooked_model(task: Task, body: str, trainable: str) -> None:
    if body == "llama_like" and trainable == "input_embeddings":
        trainable = "token_embedding"  # there is no positional embedding
    specs = [RunSpec(task, BODIES[body], TRAINING, trainable, seed) for seed in (0, 5)]
    engine = Engine(specs, CPU)
    mixing = {name: tensor.clone() for name, tensor in engine.parameters.items() if name.endswith("mixing")}
    plant(engine)
    with torch.no_grad():
        for name, tensor in mixing.items():
            engine.parameters[name].copy_(tensor)
    engine._frozen_body = None if engine._frozen_body is None else specs[0].model.stack(engine.parameters)
    losses = engine.backward()
    for index, spec in enumerate(specs):
        tensors = {name: parameter[index].detach() for name, parameter in engine.parameters.items()}
        model = freeze(hooked_model(task, spec.model, tensors), trainable)
        loss = mean_loss(model, TrainingStream(task, TRAINING.batch_size, spec.seed, CPU).next_batch())
        loss.backward()
        assert losses[index].item() == pytest.approx(loss.item(), rel=1e-5)
        for name, parameter in model.named_parameters():
            stacked = engine.parameters[name].grad
            assert (stacked is None) == (parameter.grad is None) == (name not in engine.trained), name
            # Rotated keys that move alike change attention, and so do those without a softmax; others do not.
            keys_move_alike = spec.model.compares_keys_as_they_are and name.endswith("b_K")
            if stacked is not None and not keys_move_alike:
                assert parameter.grad.norm() > 0, name
                assert (stacked[index] - parameter.grad).norm() < 1e-4 * parameter.grad.norm(), name


@pytest.mark.parametrize("trainable", ["embeddings", "frozen_qk", "frozen_mlp", "ov+norms"])
@pytest.mark.parametrize("body", ["llama_like", "mixit", "random_mixing", "gated_linear"])
def test_what_is_frozen_stays_bit_for_bit_and_is_in_the_fingerprint(body: str, trainable: str) -> None:
    spec = RunSpec(KHopInduction(max_hops=2, length=14), BODIES[body], TRAINING, trainable)
    run = train(spec, device="cpu", progress=False)
    initial = spec.model.initial_tensors(spec.task.d_vocab, spec.task.n_ctx, 0, spec.task.d_vocab_out)
    tensors = run.tensors()
    trained = {parameter.name for parameter in spec.trained_parameters()}
    assert trained == set(run.trained)
    for name, tensor in tensors.items():
        assert torch.equal(tensor, initial[name]) == (name not in trained), name
    frozen = {name: tensor for name, tensor in initial.items() if name not in trained}
    assert run.fingerprint == fingerprint(frozen)
    assert any(name.endswith("mixing") for name in frozen) == ("mix" in body)
    with torch.no_grad():
        logits = run.model(spec.task.test_set().tokens)
        expected = spec.task.test_set().targets
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), expected.flatten())
    assert run.test_loss == pytest.approx(loss.item(), rel=1e-4)


@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
def test_bodies_come_back_from_json(body: ModelSpec) -> None:
    spec = RunSpec(NEEDLE, body, TRAINING, "frozen_qk")
    text = spec_to_json(spec)
    assert spec_from_json(text) == spec
    assert spec_from_json(text).run_id == spec.run_id


def test_gpt2s_block_is_stored_as_before_there_were_others() -> None:
    fields = json.loads(spec_to_json(RunSpec(NEEDLE, ModelSpec(16), TRAINING)))["model"]
    assert set(fields) == {"name", "d_model", "n_layers", "n_heads", "init", "attention", "positions"}


def test_what_trains_nothing_of_random_mixing_is_refused() -> None:
    with pytest.raises(ValueError, match="'qk' trains nothing of this transformer with random mixing; it has "):
        RunSpec(NEEDLE, BODIES["random_mixing"], TRAINING, "qk")
    with pytest.raises(ValueError, match="'positional_embedding' trains nothing of this transformer; it has "):
        RunSpec(NEEDLE, BODIES["llama_like"], TRAINING, "positional_embedding")
    with pytest.raises(ValueError, match=r"mixing_length=5 is less than the 11 positions .*; use 11 or more"):
        RunSpec(NEEDLE, mixit(16, mixing_length=5), TRAINING)


def test_frozen_mixing_needs_no_more_than_its_own_length() -> None:
    """MixiT's scale depends on the length that it is drawn for, not on spare rows of a positional embedding."""
    spec = RunSpec(NEEDLE, mixit(16, mixing_length=NEEDLE.sequence_length), TRAINING, "frozen_qk")
    shapes = {p.name: p.shape for p in spec.parameters()}
    assert shapes["blocks.0.attn.mixing"] == (4, 11, 11)
    assert shapes["pos_embed.W_pos"][0] == NEEDLE.n_ctx > 11
    run = train(spec, device="cpu", progress=False)
    assert run.test_accuracy is not None
