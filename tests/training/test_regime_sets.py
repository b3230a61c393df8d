"""Any set of component groups trains exactly itself, and what training reports is true of what is stored."""

from __future__ import annotations

import dataclasses
import random

import pytest
import torch
from training_references import CPU, TASKS, mean_loss, plant

from rtinterp.models.body import Body
from rtinterp.models.parameters import GROUPS, group_of
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.regimes import freeze
from rtinterp.models.transformer.hooked import hooked_transformer
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.store.training import train
from rtinterp.tasks import Task
from rtinterp.training.engine import Engine
from rtinterp.training.spec import RunSpec, TrainSpec, spec_from_json, spec_to_json
from rtinterp.training.stream import TrainingStream

TRAINING = TrainSpec(n_steps=12, batch_size=16, learning_rate=3e-2, n_warmup_steps=0, steps_per_evaluation=6)


def random_sets(groups: tuple[str, ...], n: int) -> list[tuple[str, ...]]:
    generator = random.Random(7)
    return [tuple(generator.sample(groups, generator.randint(1, len(groups)))) for _ in range(n)]


SETS = [*random_sets(GROUPS, 8), ("qk",), ("norms",), ("mlp", "token_embedding"), ("frozen_qk",)]
CASES = [
    *((TASKS[index % len(TASKS)], ModelSpec(8), groups) for index, groups in enumerate(SETS)),
    (TASKS[1], ModelSpec(8, n_layers=1), ("ov", "unembedding")),
    *((TASKS[1], RecurrentSpec(8), groups) for groups in (("recurrence",), ("recurrence", "unembedding"))),
]


def run_spec(task: Task, body: Body, groups: tuple[str, ...], seed: int = 0) -> RunSpec:
    return dataclasses.replace(RunSpec(task, body, TRAINING, seed=seed), trainable=groups)


@pytest.mark.parametrize(
    ("task", "body", "groups"), CASES, ids=lambda case: "+".join(case) if type(case) is tuple else ""
)
def test_the_reported_loss_is_that_of_the_stored_model(task: Task, body: Body, groups: tuple[str, ...]) -> None:
    spec = run_spec(task, body, groups)
    run = train(spec, device="cpu", progress=False)
    with torch.no_grad():
        loss = mean_loss(run.model, task.test_set())
        initial_loss = mean_loss(run.initial_model, task.test_set())
    assert run.test_loss == pytest.approx(loss.item(), rel=1e-4)
    assert abs(initial_loss - loss) > 1e-3, "training moved nothing"
    initial = body.initial_tensors(task.d_vocab, task.n_ctx, spec.seed)
    for name, tensor in run.tensors().items():
        assert torch.equal(tensor, initial[name]) == (name not in run.trained), name


@pytest.mark.parametrize("groups", SETS, ids="+".join)
def test_gradients_of_any_set_are_those_of_autograd(groups: tuple[str, ...]) -> None:
    specs = [run_spec(TASKS[1], ModelSpec(16), groups, seed) for seed in (0, 5)]
    engine = Engine(specs, CPU)
    plant(engine)
    engine._frozen_body = None if engine._frozen_body is None else specs[0].model.stack(engine.parameters)
    losses = engine.backward()
    for index, spec in enumerate(specs):
        tensors = {name: parameter[index].detach() for name, parameter in engine.parameters.items()}
        model = freeze(hooked_transformer(spec.task, ModelSpec(16), tensors), groups)
        batch = TrainingStream(spec.task, spec.training.batch_size, spec.seed, CPU).next_batch()
        loss = mean_loss(model, batch)
        loss.backward()
        assert losses[index].item() == pytest.approx(loss.item(), rel=1e-5)
        for name, parameter in model.named_parameters():
            stacked = engine.parameters[name].grad
            assert (stacked is None) == (parameter.grad is None), name
            if stacked is not None and not name.endswith("b_K"):
                assert (stacked[index] - parameter.grad).norm() < 1e-4 * parameter.grad.norm(), name


def test_a_spec_keeps_the_canonical_form() -> None:
    specs = [
        run_spec(TASKS[0], ModelSpec(8), groups) for groups in (("mlp", "qk"), ["qk", "mlp"], {"qk", "mlp"}, "mlp+qk")
    ]
    assert {spec.trainable for spec in specs} == {"qk+mlp"}
    assert len({spec.run_id for spec in specs}) == 1
    assert "-qk-and-mlp-" in specs[0].run_id
    assert spec_from_json(spec_to_json(specs[0])) == specs[0]
    assert spec_from_json(spec_to_json(specs[0]).replace("qk+mlp", "mlp+qk")) == specs[0]


@pytest.mark.parametrize(
    ("body", "groups", "message"),
    [
        (RecurrentSpec(8), "qk", "'qk' trains nothing of this lstm; it has token_embedding, unembedding, recurrence"),
        (ModelSpec(8, positions="sinusoidal"), "positional_embedding", "trains nothing of this transformer"),
        (ModelSpec(8), "recurrence", "no component group 'recurrence'"),
        (ModelSpec(8), "embedings", "did you mean 'embeddings'"),
        (ModelSpec(8), 3, "trainable=.*valid string"),
        (ModelSpec(8, n_layers=10**9), "qk", "n_layers=1000000000 is more"),
    ],
    ids=str,
)
def test_what_trains_nothing_is_refused(body: Body, groups: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(RunSpec(TASKS[0], ModelSpec(8), TRAINING), model=body, trainable=groups)


def test_names_of_every_group() -> None:
    names = [parameter.name for parameter in ModelSpec(8).parameters(3, 3)]
    assert [name for name in names if group_of(name) == "qk" and "blocks.1" in name] == [
        f"blocks.1.attn.{kind}_{x}" for kind in "Wb" for x in "QK"
    ]
    of_ov = {name.rpartition(".")[2] for name in names if group_of(name) == "ov"}
    assert of_ov == {"W_V", "b_V", "W_O", "b_O"}
