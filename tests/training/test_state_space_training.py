"""Training Mambas and S4Ds in a stack: gradients of every regime, stored runs, and what stays as it was drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_references import CPU, mean_loss

from rtinterp import RunStore, freeze, train
from rtinterp.models.body import Body
from rtinterp.models.build import hooked_model
from rtinterp.models.mamba.spec import MambaSpec
from rtinterp.models.regimes import TRAINABLE
from rtinterp.models.s4d.spec import S4DSpec
from rtinterp.tasks import DecimalAddition, NeedleInAHaystack, ParenthesisBalancing, Task
from rtinterp.training.engine import Engine
from rtinterp.training.flops import step_flops
from rtinterp.training.spec import RunSpec, TrainSpec, spec_from_json, spec_to_json
from rtinterp.training.stream import TrainingStream

BODY = MambaSpec(12, d_state=4)
BODIES = {"mamba": BODY, "s4d": S4DSpec(12, d_state=6)}
TRAINING = TrainSpec(n_steps=8, batch_size=16, learning_rate=3e-2, n_warmup_steps=0, steps_per_evaluation=4)
NEEDLE = NeedleInAHaystack(max_pairs=4, n_values=16)
TASKS = [NEEDLE, DecimalAddition(n_digits=2), ParenthesisBalancing(max_pairs=6)]
CASES = [
    *((NEEDLE, trainable) for trainable in (*TRAINABLE, "state_space", "norms+projections")),
    *((task, trainable) for task in TASKS[1:] for trainable in ("embeddings", "all")),
]


@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
@pytest.mark.parametrize(("task", "trainable"), CASES, ids=[f"{task.name}-{regime}" for task, regime in CASES])
def test_gradients_are_those_of_autograd_through_the_hooked_model(task: Task, trainable: str, body: Body) -> None:
    specs = [RunSpec(task, body, TRAINING, trainable, seed) for seed in (0, 5)]
    engine = Engine(specs, CPU)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in engine.parameters.items():
            if name != "unembed.b_U":
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    engine._frozen_body = None if engine._frozen_body is None else body.stack(engine.parameters)
    losses = engine.backward()
    for index, spec in enumerate(specs):
        tensors = {name: parameter[index].detach() for name, parameter in engine.parameters.items()}
        model = freeze(hooked_model(task, body, tensors), trainable)
        loss = mean_loss(model, TrainingStream(task, TRAINING.batch_size, spec.seed, CPU).next_batch())
        loss.backward()
        assert losses[index].item() == pytest.approx(loss.item(), rel=1e-5)
        for name, parameter in model.named_parameters():
            stacked = engine.parameters[name].grad
            assert (stacked is None) == (parameter.grad is None) == (name not in engine.trained), name
            if stacked is not None:
                assert parameter.grad.norm() > 0, name
                assert (stacked[index] - parameter.grad).norm() < 1e-4 * parameter.grad.norm(), name


@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
@pytest.mark.parametrize("trainable", ["embeddings", "all"])
def test_it_trains_saves_and_opens(trainable: str, body: Body, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    specs = [RunSpec(NEEDLE, body, TRAINING, trainable, seed) for seed in (0, 4)]
    train(specs, store=store, device="cpu", progress=False)
    for spec in specs:
        run = store.load(spec.run_id)
        assert spec_from_json(spec_to_json(spec)) == run.spec == spec
        initial = spec.model.initial_tensors(NEEDLE.d_vocab, NEEDLE.n_ctx, spec.seed)
        moved = {name for name, tensor in run.tensors().items() if not torch.equal(tensor, initial[name])}
        assert moved == set(run.trained)
        assert any(".mixer." in name for name in moved) == (trainable == "all")
        batch = NEEDLE.test_set()
        with torch.no_grad():
            logits = run.model(batch.tokens)[:, :-1]
        scored = batch.scored[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits[scored], batch.tokens[:, 1:][scored])
        assert run.test_loss == pytest.approx(loss.item(), rel=1e-4)


def test_what_it_has_not_cannot_be_trained() -> None:
    with pytest.raises(ValueError, match=r"'qk' trains nothing of this mamba; it has .*projections.*state_space"):
        RunSpec(NEEDLE, BODY, TRAINING, "qk")


def test_a_random_one_costs_less_to_train_than_a_trained_one() -> None:
    random, trained = (step_flops(RunSpec(NEEDLE, MambaSpec(64), TRAINING, regime)) for regime in ("embeddings", "all"))
    assert 0.5 * trained < random < trained
