"""Training and opening a model on another device than the CPU, without one: nothing may be left behind on the CPU."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from corpus_references import made_up_corpus
from device_references import Pretended, pretended_device
from training_references import CPU, TASKS, distance, small_run

from rtinterp.analysis import accuracy, attention_patterns, attention_score, exact_match
from rtinterp.models import prefixes
from rtinterp.models.body import Body
from rtinterp.models.build import build_model
from rtinterp.models.mamba.spec import MambaSpec
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.s4d.spec import S4DSpec
from rtinterp.models.transformer.presets import llama_like, mixit
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import Batch, CircuitImitation, KHopInduction, LanguageModelling, Task
from rtinterp.training.engine import Engine
from rtinterp.training.train_spec import Precision

__all__ = ["pretended_device"]

BODIES: list[Body] = [
    ModelSpec(16),
    ModelSpec(16, n_layers=1),
    ModelSpec(16, attention="prefix_sum"),
    ModelSpec(16, positions="sinusoidal"),
    llama_like(16),
    mixit(16),
    ModelSpec(16, n_layers=1, attention="random_mixing"),
    RecurrentSpec(16),
    MambaSpec(16),
    S4DSpec(16),
    RecurrentSpec(16, cell="rnn"),
]
OTHER_TASKS = [
    CircuitImitation(4, n_tokens=5, d_vocab=16),
    KHopInduction(max_hops=2, length=12),
    LanguageModelling.from_corpus(made_up_corpus(), 300, 16),
]
CASES = [
    *((task, ModelSpec(16), precision) for task in (*TASKS, *OTHER_TASKS) for precision in ("float32", "bfloat16")),
    *((TASKS[1], body, "float32") for body in BODIES[1:]),
]


@pytest.mark.parametrize("trainable", ["embeddings", "all"])
@pytest.mark.parametrize(("task", "body", "precision"), CASES, ids=str)
def test_training_stays_on_its_device(
    pretended_device: torch.device, task: Task, body: Body, precision: Precision, trainable: str
) -> None:
    specs = [dataclasses.replace(small_run(task, trainable, seed, precision=precision), model=body) for seed in (0, 3)]
    there, here = Engine(specs, pretended_device), Engine(specs, CPU)
    losses = [engine.step() for engine in (there, here)]
    assert isinstance(losses[0], Pretended)
    assert losses[0].tolist() == pytest.approx(losses[1].tolist(), rel=1e-2 if precision == "bfloat16" else 1e-4)
    assert there.test().loss.tolist() == pytest.approx(here.test().loss.tolist(), rel=1e-2)
    state = there.state()
    assert not any(isinstance(tensor, Pretended) for tensor in state.tensors.values())
    continued = Engine(specs, pretended_device)
    continued.restore(state)
    assert continued.step().tolist() == there.step().tolist()
    trained = [engine.trained_tensors(1) for engine in (there, continued)]
    assert not any(isinstance(tensor, Pretended) for tensors in trained for tensor in tensors.values())
    assert distance(*trained) == 0


def test_what_a_task_leaves_on_the_cpu_follows_its_tokens() -> None:
    tokens = torch.zeros(3, 4, dtype=torch.int64, device="meta")
    batch = Batch(tokens, torch.ones(3, 4, dtype=torch.bool), torch.zeros(3, 4, dtype=torch.int32))
    assert batch.scored.device == batch.targets.device == tokens.device


def test_a_model_elsewhere_is_measured_on_a_batch_on_the_cpu(pretended_device: torch.device) -> None:
    batch = TASKS[1].test_set()[:50]
    model = build_model(TASKS[1], ModelSpec(16), seed=0)

    def elsewhere(tokens: torch.Tensor) -> torch.Tensor:
        return model(tokens).to(pretended_device)

    for measure in (accuracy, exact_match):
        assert measure(elsewhere, batch) == measure(model, batch)


def test_a_recurrent_model_elsewhere_takes_tokens_from_the_cpu(pretended_device: torch.device) -> None:
    """As HookedTransformer does."""
    tokens = TASKS[1].test_set().tokens[:5]
    model = build_model(TASKS[1], RecurrentSpec(16), seed=0)
    expected = model(tokens)
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            module.register_parameter(name, torch.nn.Parameter(parameter.detach().to(pretended_device)))
    assert torch.equal(model(tokens).cpu(), expected)


def test_scores_take_occurrences_from_the_cpu(pretended_device: torch.device) -> None:
    task, tokens = TASKS[1], TASKS[1].test_set().tokens[:20]
    patterns = attention_patterns(build_model(task, ModelSpec(16), seed=0), tokens)
    places = {"query_pos": task.query_position(tokens), "key_pos": task.queried_value_position(tokens)}
    arguments = {"batch_index": torch.arange(20), **places}
    there = patterns.to(pretended_device)
    assert torch.equal(attention_score(there, **arguments).cpu(), attention_score(patterns, **arguments))


def test_what_is_left_on_the_cpu_is_noticed(pretended_device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    arange = torch.arange

    class Forgetful:
        def __getattr__(self, name: str):
            return getattr(torch, name)

        def arange(self, *args: int, device: torch.device) -> torch.Tensor:
            return arange(*args)

    monkeypatch.setattr(prefixes, "torch", Forgetful())
    with pytest.raises(RuntimeError, match="mixes devices"):
        Engine([small_run()], pretended_device).step()
