"""Circuit imitation: the loss is the KL divergence from an amplified random transformer, and training lowers it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from training_references import CPU, distance, small_run, trained_names, unstacked
from transformers import GPT2Config, GPT2LMHeadModel

from rtinterp.analysis import target_statistics
from rtinterp.models.build import build_model
from rtinterp.models.initialisation import initialise
from rtinterp.models.parameters import Parameter
from rtinterp.models.regimes import Trainable
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.store.training import train
from rtinterp.tasks import Batch, CircuitImitation
from rtinterp.training import engine as engine_module
from rtinterp.training.engine import Engine
from rtinterp.training.imitation import target_spec
from rtinterp.training.packing import ChunkLimits
from rtinterp.training.spec import RunSpec
from rtinterp.training.stream import TrainingStream

LAST = CircuitImitation(8, n_tokens=6, d_vocab=20)
ALL = dataclasses.replace(LAST, scored_positions="all")
SEEDS = (0, 3)
PAPER_TARGET_WIDTHS = (4, 8, 12, 16, 32, 64, 128)

tasks = pytest.mark.parametrize("task", [LAST, ALL], ids=["last", "all"])
regimes = pytest.mark.parametrize("trainable", ["embeddings", "all"])


def target_of(task: CircuitImitation) -> nn.Module:
    return build_model(task, target_spec(task), task.target_seed)


def plain_divergence(student: nn.Module, task: CircuitImitation, batch: Batch) -> Tensor:
    """Mean KL(target || student) over the scored positions, through two HookedTransformers."""
    read = batch.tokens[:, : task.n_tokens]
    with torch.no_grad():
        target = target_of(task)(read).log_softmax(-1)
    prediction = student(read).log_softmax(-1)
    if task.scored_positions == "last":
        target, prediction = target[:, -1:], prediction[:, -1:]
    divergences = F.kl_div(prediction, target, reduction="sum", log_target=True)
    return divergences / (prediction.shape[0] * prediction.shape[1])


@pytest.fixture
def large_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Students start from weights that leave no part of them idle, frozen or not; targets stay as they are."""

    def planted(parameters: Iterable[Parameter], seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {
            name: tensor if name == "unembed.b_U" else 5 * tensor + 0.1 * torch.randn(tensor.shape, generator=generator)
            for name, tensor in initialise(parameters, seed).items()
        }

    monkeypatch.setattr(engine_module, "initialise", planted)


# Loss and gradients.


@pytest.mark.usefixtures("large_weights")
@regimes
@tasks
def test_loss_and_gradients_are_those_of_autograd(task: CircuitImitation, trainable: Trainable) -> None:
    specs = [small_run(task, trainable, seed) for seed in SEEDS]
    engine = Engine(specs, CPU)
    losses = engine.backward()
    for index, spec in enumerate(specs):
        student = unstacked(engine, index)
        batch = TrainingStream(task, spec.training.batch_size, spec.seed, CPU).next_batch()
        loss = plain_divergence(student, task, batch)
        loss.backward()
        assert losses[index].item() == pytest.approx(loss.item(), rel=1e-5)
        expected = dict(student.named_parameters())
        scale = torch.stack([p.grad.norm() for p in expected.values() if p.grad is not None]).norm()
        for name, stacked in engine.parameters.items():
            assert (stacked.grad is not None) == (name in trained_names(trainable, expected)), name
            if stacked.grad is None:
                continue
            error = (stacked.grad[index] - expected[name].grad).norm()
            if name.endswith("b_K"):  # moves all keys alike: the gradient is rounding noise
                assert error < 1e-6 * scale, name
            else:
                assert expected[name].grad.norm() > 0, name
                assert error < 1e-4 * expected[name].grad.norm(), name


@tasks
def test_chunks_change_nothing(task: CircuitImitation, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Engine([small_run(task, "all", seed) for seed in SEEDS], CPU)
    losses, tested = whole.backward(), whole.test()
    monkeypatch.setattr("rtinterp.training.engine.chunk_limits", lambda *_: ChunkLimits(400, 400))
    cut = Engine([small_run(task, "all", seed) for seed in SEEDS], CPU)
    torch.testing.assert_close(cut.backward(), losses, rtol=1e-5, atol=0)
    torch.testing.assert_close(cut.test().loss, tested.loss, rtol=1e-5, atol=0)
    for name in whole.trained:
        error = (whole.parameters[name].grad - cut.parameters[name].grad).norm()
        assert error <= 1e-4 * whole.parameters[name].grad.norm() + 1e-7, name


@regimes
@tasks
def test_a_stack_is_its_models_trained_apart(task: CircuitImitation, trainable: Trainable) -> None:
    training = {"n_steps": 30, "learning_rate": 1e-3, "adam_eps": 1e-6}
    specs = [small_run(task, trainable, seed, **training) for seed in SEEDS]
    together = Engine(specs, CPU)
    losses = torch.stack([together.step() for _ in range(20)], dim=1)
    for index, spec in enumerate(specs):
        alone = Engine([spec], CPU)
        alone_losses = torch.stack([alone.step() for _ in range(20)], dim=1)
        assert distance(together.trained_tensors(index), alone.trained_tensors(0)) < 1e-3
        torch.testing.assert_close(losses[index], alone_losses[0], rtol=1e-3, atol=0)


# Evaluation.


@tasks
def test_a_student_that_is_the_target_is_perfect_and_stays_so(task: CircuitImitation) -> None:
    spec = dataclasses.replace(small_run(task, "all", task.target_seed), model=target_spec(task))
    engine = Engine([spec], CPU)
    assert engine.test().loss.item() == pytest.approx(0, abs=1e-6)
    assert engine.test().metrics["accuracy"].item() == 1
    assert engine.backward().item() == pytest.approx(0, abs=1e-6)
    assert max(engine.parameters[name].grad.abs().max() for name in engine.trained) < 1e-5


@tasks
def test_another_target_seed_is_another_target(task: CircuitImitation) -> None:
    spec = dataclasses.replace(small_run(task, "all", task.target_seed + 1), model=target_spec(task))
    assert Engine([spec], CPU).test().loss.item() > 0.1


@pytest.mark.usefixtures("large_weights")
@torch.no_grad()
@tasks
def test_evaluation_is_divergence_and_agreement_on_the_test_set(task: CircuitImitation) -> None:
    engine = Engine([small_run(task, "all", seed) for seed in SEEDS], CPU)
    batch, found = task.test_set(), engine.test()
    likeliest = target_of(task)(batch.tokens[:, : task.n_tokens]).argmax(-1)
    for index in range(len(SEEDS)):
        student = unstacked(engine, index)
        assert found.loss[index].item() == pytest.approx(plain_divergence(student, task, batch).item(), rel=1e-5)
        agrees = student(batch.tokens[:, : task.n_tokens]).argmax(-1) == likeliest
        agrees = agrees[:, -1:] if task.scored_positions == "last" else agrees
        assert 0 < agrees.double().mean() < 1
        # A tie within rounding may fall either way.
        assert found.metrics["accuracy"][index].item() == pytest.approx(
            agrees.double().mean().item(), abs=2 / agrees.numel()
        )


def test_the_padding_token_is_never_read() -> None:
    batch = LAST.sample(8, torch.Generator().manual_seed(0))
    engine = Engine([small_run(LAST)], CPU)
    packed = [
        engine._pack([Batch(batch.tokens.clone().index_fill_(1, torch.tensor([6]), token), batch.scored)])
        for token in (0, 13)
    ]
    for left, right in zip(packed[0].chunks, packed[1].chunks, strict=True):
        assert torch.equal(left.targets, right.targets)
        assert torch.equal(left.prefixes.tokens, right.prefixes.tokens)


# The target.


def amplified_gpt2(task: CircuitImitation, seed: int) -> dict[str, Tensor]:
    """Hugging Face's GPT-2 at its own initial values, amplified in place as the official code does it."""
    config = GPT2Config(
        vocab_size=task.d_vocab,
        n_positions=task.n_tokens,
        n_embd=task.target_d_model,
        n_layer=task.target_n_layers,
        n_head=task.target_n_heads,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(config)
        for block in model.transformer.h:
            block.mlp.c_proj.weight *= 20
            block.mlp.c_proj.bias *= 20
            block.attn.c_attn.weight *= 10
        model.lm_head.weight *= 100 / math.sqrt(task.target_d_model)
    return model.state_dict()


@pytest.mark.parametrize("target_d_model", [16, 128])
def test_targets_start_as_an_amplified_gpt2(target_d_model: int) -> None:
    task = CircuitImitation(target_d_model)
    theirs = amplified_gpt2(task, seed=0)
    ours = target_spec(task).initial_tensors(task.d_vocab, task.n_ctx, seed=0)
    pairs = {"embed.W_E": "wte.weight", "pos_embed.W_pos": "wpe.weight"}
    for layer in range(3):
        block = f"blocks.{layer}"
        pairs |= {f"{block}.attn.W_{x}": f"h.{layer}.attn.c_attn.weight" for x in "QKV"}
        pairs[f"{block}.attn.W_O"] = f"h.{layer}.attn.c_proj.weight"
        pairs[f"{block}.mlp.W_in"] = f"h.{layer}.mlp.c_fc.weight"
        pairs[f"{block}.mlp.W_out"] = f"h.{layer}.mlp.c_proj.weight"
    stds = {name: theirs[f"transformer.{of_gpt2}"].std() for name, of_gpt2 in pairs.items()}
    stds["unembed.W_U"] = theirs["lm_head.weight"].std()
    assert {name for name, tensor in ours.items() if tensor.std() > 0} == set(stds)
    for name, std in stds.items():
        # The standard error of a standard deviation is 1 / sqrt(2 n) of it; two are compared.
        assert abs(ours[name].std() / std - 1) < 5 / math.sqrt(ours[name].numel()), name
    constant = {name: tensor for name, tensor in ours.items() if name not in stds}
    assert all((tensor == (1 if name.endswith(".w") else 0)).all() for name, tensor in constant.items())


def test_the_target_has_the_shape_that_the_task_says() -> None:
    task = CircuitImitation(12, target_n_layers=2, target_n_heads=3, n_tokens=5, d_vocab=9)
    assert target_spec(task) == ModelSpec(12, n_layers=2, n_heads=3, init="imitation_target")


@pytest.mark.parametrize("target_d_model", PAPER_TARGET_WIDTHS)
def test_targets_of_the_papers_size_are_worth_imitating(target_d_model: int) -> None:
    """The protocol's range is about 0.8 to 3.3 nats between two inputs, with entropies near 4.2 of log 512 = 6.24."""
    task = CircuitImitation(target_d_model)
    found = target_statistics(target_of(task), task.test_set().tokens[:250, : task.n_tokens])
    assert 0.75 < found.kl_between_inputs < 3.7
    assert 4.1 < found.entropy < 4.9


# Training.


@regimes
def test_training_lowers_the_divergence(trainable: Trainable) -> None:
    task = CircuitImitation(4, n_tokens=3, d_vocab=12)
    spec = RunSpec(task, ModelSpec(32, n_layers=3), small_run(n_steps=150, batch_size=64).training, trainable)
    run = train(spec, device="cpu", progress=False)
    untrained = Engine([spec], CPU).test()
    assert run.test_loss < 0.2 * untrained.loss.item()
    assert run.test_accuracy > untrained.metrics["accuracy"].item() + 0.3
    ignorant = target_statistics(target_of(task), task.test_set().tokens[:1000, :3]).kl_from_mean
    assert run.test_loss < 0.5 * ignorant, "it has learned more than the mean prediction"
    assert plain_divergence(run.model, task, task.test_set()).item() == pytest.approx(run.test_loss, rel=1e-4)
