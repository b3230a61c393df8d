"""Leaves in place of tensors: their gradients, what they can and cannot reach, and how they are kept."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from training_references import CPU, EMBEDDINGS, TASKS, distance, mean_loss, small_run

from rtinterp.models.body import Body
from rtinterp.models.initialisation import initialise
from rtinterp.models.parametrisations import LowRank, Parametrisation, RandomSubspace, ReadSubspace
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.store import RunStore
from rtinterp.store.training import train
from rtinterp.tasks import Memorization, ModularAddition
from rtinterp.training.engine import Engine
from rtinterp.training.packing import ChunkLimits
from rtinterp.training.spec import RunSpec
from rtinterp.training.stream import TrainingStream

W_E, W_pos, W_U = "embed.W_E", "pos_embed.W_pos", "unembed.W_U"
PARAMETRISATIONS = [
    (LowRank(2, (W_E, W_U)), "embeddings"),
    (LowRank(3, (W_U,)), "token_embedding+unembedding"),
    (LowRank(2, (W_E, "blocks.0.mlp.W_in")), "all"),
    (RandomSubspace(5), "embeddings"),
    (RandomSubspace(4, (W_pos,)), "input_embeddings"),
    (RandomSubspace(5, (W_E, W_U)), "frozen_qk"),
    (ReadSubspace(5), "embeddings"),
    (ReadSubspace(4, "most", (W_E, W_pos)), "input_embeddings"),
]
cases = pytest.mark.parametrize(("parametrisation", "trainable"), PARAMETRISATIONS, ids=str)


def run_spec(
    parametrisation: Parametrisation | None, trainable: str = "embeddings", seed: int = 0, **training
) -> RunSpec:
    spec = small_run(TASKS[1], trainable, seed, **training)
    return dataclasses.replace(spec, parametrisation=parametrisation)


def leaf_loss(spec: RunSpec, leaves: dict[str, Tensor]) -> Tensor:
    """Of the next batch, through the hooked model, with the effective tensors written out."""
    kind = spec.parametrisation
    tensors = {name: tensor for name, tensor in leaves.items() if not name.startswith(kind.name)}
    for name in kind.tensors:
        if isinstance(kind, LowRank):
            tensors[name] = leaves[f"low_rank.{name}.A"] @ leaves[f"low_rank.{name}.B"]
        else:
            coordinates, directions = leaves[f"{kind.name}.{name}"], leaves[f"{kind.name}.directions"]
            tensors[name] = directions.T @ coordinates if name == W_U else coordinates @ directions
    model = spec.model.hooked(spec.task, {name: tensor.detach() for name, tensor in tensors.items()}, "cpu")
    batch = TrainingStream(spec.task, spec.training.batch_size, spec.seed, CPU).next_batch()
    return mean_loss(lambda tokens: functional_call(model, tensors, (tokens,)), batch)


@pytest.mark.parametrize("limits", [None, ChunkLimits(0, 0)], ids=["one chunk", "many"])
@cases
def test_gradients_of_leaves_are_those_of_autograd(
    parametrisation: Parametrisation, trainable: str, limits: ChunkLimits | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if limits is not None:
        monkeypatch.setattr("rtinterp.training.engine.chunk_limits", lambda *_: limits)
    specs = [run_spec(parametrisation, trainable, seed) for seed in (0, 5)]
    engine = Engine(specs, CPU)
    assert (engine._frozen_body is not None) == (trainable not in ("all", "frozen_qk"))
    losses = engine.backward()
    for index, spec in enumerate(specs):
        leaves = {
            n: p[index].detach().clone().requires_grad_(n in engine.trained) for n, p in engine.parameters.items()
        }
        loss = leaf_loss(spec, leaves)
        loss.backward()
        assert losses[index].item() == pytest.approx(loss.item(), rel=1e-5)
        for name, leaf in leaves.items():
            got = engine.parameters[name].grad
            assert (got is not None) == (name in engine.trained), name
            if got is not None and not name.endswith("b_K"):
                assert (got[index] - leaf.grad).norm() < 1e-4 * leaf.grad.norm() + 1e-9, name


@pytest.mark.parametrize(
    "parametrisation",
    [LowRank(1), LowRank(4), LowRank(16, (W_E,)), RandomSubspace(1), RandomSubspace(7), ReadSubspace(7)],
    ids=str,
)
def test_a_model_starts_as_large_as_without(parametrisation: Parametrisation) -> None:
    spec = dataclasses.replace(run_spec(None), task=ModularAddition(p=211), model=ModelSpec(64))
    made = dataclasses.replace(spec, parametrisation=parametrisation)
    stds = torch.zeros(len(parametrisation.tensors))
    for seed in range(20):
        tensors = made.model_tensors(initialise(made.parameters(), seed))
        stds += torch.stack([tensors[name].square().mean() for name in parametrisation.tensors]) / 20
    assert (stds.sqrt() / 0.02 - 1).abs().max() < 0.15


@cases
def test_trained_tensors_have_the_rank_and_lie_in_the_subspace(
    parametrisation: Parametrisation, trainable: str
) -> None:
    spec = run_spec(parametrisation, trainable, n_steps=8)
    run = train(spec, device="cpu", progress=False)
    initial, tensors = initialise(spec.parameters(), 0), run.tensors()
    assert set(tensors) == {parameter.name for parameter in spec.model_parameters()}
    for name in parametrisation.tensors:
        values = torch.linalg.svdvals(tensors[name].double())
        if isinstance(parametrisation, LowRank):
            n_directions = parametrisation.rank
        else:
            n_directions = parametrisation.dimension
            directions = initial[f"{parametrisation.name}.directions"]
            W = tensors[name].T if name == W_U else tensors[name]
            torch.testing.assert_close(W @ directions.T @ directions, W, rtol=1e-5, atol=1e-6)
        assert (values[n_directions:] < 1e-6 * values[0]).all()
        assert (values[:n_directions] > 1e-4 * values[0]).all()
        assert distance({name: spec.model_tensors(initial)[name]}, {name: tensors[name]}) > 0.01, "nothing moved"
    untouched = dataclasses.replace(spec, parametrisation=None)
    plain = initialise(untouched.parameters(), 0)
    frozen = set(plain) - {parameter.name for parameter in untouched.trained_parameters()}
    assert all(torch.equal(tensors[name], plain[name]) for name in frozen)


def test_directions_are_orthonormal_and_differ_by_seed() -> None:
    spec = dataclasses.replace(run_spec(None), model=ModelSpec(48), parametrisation=RandomSubspace(40))
    one, other = (initialise(spec.parameters(), seed)["random_subspace.directions"] for seed in (0, 1))
    torch.testing.assert_close(one @ one.T, torch.eye(40), atol=1e-6, rtol=0)
    assert (one - other).norm() > 1
    # Rows of a Haar rotation have mean square 1 / d_model in every column.
    many = torch.cat([initialise(spec.parameters(), seed)["random_subspace.directions"] for seed in range(25)])
    assert (many.square().mean(0) * 48 - 1).abs().max() < 5 * (2 / len(many)) ** 0.5


@pytest.mark.parametrize(
    "parametrisation", [LowRank(8, (W_U,)), LowRank(8, (W_E, W_U)), RandomSubspace(16), ReadSubspace(16)], ids=str
)
def test_full_rank_reaches_what_full_training_reaches(parametrisation: Parametrisation) -> None:
    task = Memorization(n_keys=4)
    training = {"n_steps": 120, "batch_size": 64, "learning_rate": 3e-2, "weight_decay": 0.0}
    plain = dataclasses.replace(run_spec(None, **training), task=task)
    plain, made = (
        train(dataclasses.replace(plain, parametrisation=kind), device="cpu", progress=False)
        for kind in (None, parametrisation)
    )
    assert plain.test_loss < 0.6 * math.log(task.d_vocab)
    assert made.test_loss == pytest.approx(plain.test_loss, rel=0.02)


@cases
def test_a_checkpoint_goes_on_with_the_same_bits(parametrisation: Parametrisation, trainable: str) -> None:
    specs = [run_spec(parametrisation, trainable, seed) for seed in (0, 1)]
    whole, first, second = (Engine(specs, CPU) for _ in range(3))
    for _ in range(5):
        whole.step()
    for _ in range(2):
        first.step()
    second.restore(first.state())
    for _ in range(3):
        second.step()
    assert torch.equal(whole.test().loss, second.test().loss)
    for index in range(2):
        one, other = whole.trained_tensors(index), second.trained_tensors(index)
        assert all(torch.equal(one[name], other[name]) for name in one)


@cases
def test_a_stack_is_its_models_trained_apart(parametrisation: Parametrisation, trainable: str) -> None:
    specs = [run_spec(parametrisation, trainable, seed, adam_eps=1e-6) for seed in (0, 3)]
    together = Engine(specs, CPU)
    losses = torch.stack([together.step() for _ in range(10)], dim=1)
    for index, spec in enumerate(specs):
        alone = Engine([spec], CPU)
        torch.testing.assert_close(losses[index], torch.cat([alone.step() for _ in range(10)]), rtol=1e-3, atol=0)
        assert distance(together.trained_tensors(index), alone.trained_tensors(0)) < 1e-3
        assert together.fingerprints[index] == alone.fingerprints[0]


@pytest.mark.parametrize(
    ("parametrisation", "trainable", "body"),
    [*((p, t, ModelSpec(16)) for p, t in PARAMETRISATIONS[::2]), (LowRank(2, (W_E, W_U)), "all", RecurrentSpec(8))],
    ids=str,
)
def test_a_stored_run_holds_leaves_and_opens(
    parametrisation: Parametrisation, trainable: str, body: Body, tmp_path: Path
) -> None:
    spec = dataclasses.replace(run_spec(None, trainable), model=body, parametrisation=parametrisation)
    run = train(spec, device="cpu", progress=False)
    store = RunStore(tmp_path)
    store.save(run)
    again = store.load(spec.run_id)
    assert again.spec == spec
    assert set(again.trained) == {parameter.name for parameter in spec.trained_parameters()}
    tensors, expected = again.tensors(), run.tensors()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)
    with torch.no_grad():
        assert again.test_loss == pytest.approx(mean_loss(again.model, spec.task.test_set()).item(), rel=1e-4)


def test_weight_decay_shrinks_leaves_as_adamw_says() -> None:
    spec = run_spec(LowRank(2), n_steps=2, weight_decay=0.5, learning_rate=1e-9)
    engine = Engine([spec], CPU)
    start = engine.trained_tensors(0)
    engine.step()
    for name, tensor in engine.trained_tensors(0).items():
        torch.testing.assert_close(tensor, start[name], rtol=1e-6, atol=3e-9)
    assert {name for name in start if spec.parametrisation.name in name} == {
        f"low_rank.{name}.{factor}" for name in EMBEDDINGS for factor in "AB"
    }
    assert all(parameter.decays for parameter in spec.trained_parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parametrisation": LowRank(17)}, "rank=17 is more than embed.W_E .* can have: 16"),
        ({"parametrisation": RandomSubspace(17)}, "dimension=17 is more than d_model=16"),
        ({"parametrisation": LowRank(2, ("embed.W_X",))}, "no embed.W_X"),
        ({"parametrisation": LowRank(2), "model": RecurrentSpec(16)}, "no pos_embed.W_pos"),
        ({"parametrisation": ReadSubspace(2, "most", (W_E,)), "model": RecurrentSpec(16)}, "reads its residual stream"),
        ({"parametrisation": LowRank(2), "trainable": "unembedding"}, "'unembedding' does not train embed.W_E, pos"),
        ({"parametrisation": LowRank(2, ("blocks.0.attn.W_Q",)), "trainable": "all"}, "is not a matrix"),
        ({"parametrisation": RandomSubspace(2, ("blocks.0.mlp.W_in",)), "trainable": "all"}, "is not an embedding"),
    ],
    ids=str,
)
def test_what_cannot_be_made_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(run_spec(None), **changes)


@pytest.mark.parametrize("kind", [LowRank, RandomSubspace, ReadSubspace])
def test_no_direction_is_no_parametrisation(kind: type[Parametrisation]) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        kind(0)
