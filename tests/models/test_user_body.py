"""A body that a user writes: registered, trained in a stack, saved, opened, and compared with plain arithmetic."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Annotated, ClassVar

import pytest
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint

import rtinterp
from rtinterp import Body, LowRank, ModelSpec, RunSpec, RunStore, TrainSpec, freeze, register_body, train
from rtinterp.models.bodies import BODIES
from rtinterp.models.initial_values import Constant, Normal, Uniform
from rtinterp.models.layers import take_rows
from rtinterp.models.parameters import (
    TOKEN_EMBEDDING,
    UNEMBEDDING,
    UNEMBEDDING_BIAS,
    Parameter,
    matrix,
    vector,
)
from rtinterp.models.prefixes import Prefixes
from rtinterp.strict import strict
from rtinterp.tasks import NeedleInAHaystack, Task
from rtinterp.training.engine import Engine
from rtinterp.training.flops import step_flops
from rtinterp.training.spec import spec_from_json, spec_to_json

TASK = NeedleInAHaystack(max_pairs=4, n_values=16)
TRAINING = TrainSpec(n_steps=20, batch_size=16, learning_rate=3e-2, n_warmup_steps=0)


@dataclasses.dataclass(frozen=True)
class StackedDecay:
    """h_t = W x_t + decay h_(t-1), for M models."""

    W: Float[Tensor, "model d_model d_model"]
    decay: Float[Tensor, "model 1 d_model"]

    def shared(self, x: Float[Tensor, "model entry d_model"]) -> list[Float[Tensor, "model entry d_model"]]:
        return [x @ self.W]

    def scored_residual(
        self, shared: list[Float[Tensor, "model entry d_model"]], prefixes: Prefixes, scored_positions: Tensor
    ) -> Float[Tensor, "model scored_row d_model"]:
        _, n_batch, n_pos = prefixes.entry_at.shape
        inputs = take_rows(shared[0], prefixes.entry_at.flatten(1)).unflatten(1, (n_batch, n_pos))
        hidden, states = torch.zeros_like(inputs[:, :, 0]), []
        for position in range(n_pos):
            hidden = inputs[:, :, position] + self.decay * hidden
            states.append(hidden)
        sequence = torch.arange(n_batch)[:, None]
        return take_rows(torch.stack(states, 2).flatten(1, 2), (sequence * n_pos + scored_positions).flatten(1))


class HookedDecay(HookedRootModule):
    """One model, position by position."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.embed = nn.ParameterDict({"W_E": tensors[TOKEN_EMBEDDING].clone()})
        self.mix = nn.ParameterDict({"W": tensors["mix.W"].clone(), "decay": tensors["mix.decay"].clone()})
        self.unembed = nn.ParameterDict({name: tensors[f"unembed.{name}"].clone() for name in ("W_U", "b_U")})
        self.hook_hidden = HookPoint()
        self.setup()

    def forward(self, tokens: Tensor) -> Tensor:
        hidden, states = torch.zeros(len(tokens), self.mix["W"].shape[0]), []
        for token in tokens.T:
            hidden = F.embedding(token, self.embed["W_E"]) @ self.mix["W"] + self.mix["decay"] * hidden
            states.append(hidden)
        return self.hook_hidden(torch.stack(states, 1)) @ self.unembed["W_U"] + self.unembed["b_U"]


@strict
class LinearDecay(Body):
    """A linear recurrent network that forgets at its own rate in every dimension."""

    name: ClassVar[str] = "linear_decay"
    own_groups: ClassVar[frozenset[str]] = frozenset({"mixing"})
    n_layers: ClassVar[int] = 1

    d_model: Annotated[int, Field(ge=1)]

    def parameters(self, d_vocab: int, n_ctx: int, d_vocab_out: int | None = None) -> tuple[Parameter, ...]:
        d_vocab_out = d_vocab_out or d_vocab
        return (
            matrix(TOKEN_EMBEDDING, (d_vocab, self.d_model), Normal(0.5)),
            matrix(UNEMBEDDING, (self.d_model, d_vocab_out), Normal(0.3)),
            vector(UNEMBEDDING_BIAS, (d_vocab_out,)),
            matrix("mix.W", (self.d_model, self.d_model), Uniform(0.7), "mixing"),
            vector("mix.decay", (self.d_model,), Constant(0.6), "mixing"),
        )

    def stack(
        self, tensors: Mapping[str, Tensor], frozen: Set[str] = frozenset(), dtype: torch.dtype = torch.float32
    ) -> StackedDecay:
        return StackedDecay(tensors["mix.W"], tensors["mix.decay"].unsqueeze(1))

    def hooked(self, task: Task, tensors: Mapping[str, Tensor], device: str) -> HookedDecay:
        return HookedDecay(tensors).to(device)

    @property
    def widest_row(self) -> int:
        return self.d_model

    def widest_place(self, sequence_length: int) -> int:
        return self.d_model


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BODIES, "_classes", dict(BODIES._classes))
    assert register_body(LinearDecay) is LinearDecay


def reference_loss(tensors: Mapping[str, Tensor]) -> float:
    """Mean cross-entropy on the test set, by the closed form h_t = sum_s decay^(t-s) W x_s."""
    batch = TASK.test_set()
    x = tensors[TOKEN_EMBEDDING][batch.tokens].double() @ tensors["mix.W"].double()
    ages = torch.arange(x.shape[1])[:, None] - torch.arange(x.shape[1])
    weights = tensors["mix.decay"].double() ** ages.clamp(min=0)[..., None] * (ages >= 0)[..., None]
    logits = torch.einsum("tsd,bsd->btd", weights, x) @ tensors[UNEMBEDDING].double()
    logits = logits + tensors[UNEMBEDDING_BIAS].double()
    scored = batch.scored[:, :-1]
    return F.cross_entropy(logits[:, :-1][scored], batch.tokens[:, 1:][scored]).item()


@pytest.mark.parametrize("trainable", ["embeddings", "all", "mixing", "mixing+unembedding"])
def test_it_trains_saves_and_opens(trainable: str, tmp_path: Path) -> None:
    specs = [RunSpec(TASK, LinearDecay(12), TRAINING, trainable, seed) for seed in (0, 4)]
    store = RunStore(tmp_path)
    for run in train(specs, device="cpu", progress=False):
        store.save(run)
    for spec in specs:
        run = store.load(spec.run_id)
        assert run.spec == spec
        assert run.test_loss == pytest.approx(reference_loss(run.tensors()), rel=1e-4)
        initial = spec.model.initial_tensors(TASK.d_vocab, TASK.n_ctx, spec.seed)
        moved = {name for name, tensor in run.tensors().items() if not torch.equal(tensor, initial[name])}
        groups = {p.name: p.group for p in spec.model_parameters()}
        embeddings = {"token_embedding", "positional_embedding", "unembedding"}
        expected = {"all": set(groups.values()), "embeddings": embeddings}.get(trainable, set(trainable.split("+")))
        assert moved == {name for name, group in groups.items() if group in expected}
        with torch.no_grad():
            logits, cache = run.model.run_with_cache(TASK.test_set().tokens[:2])
        assert cache["hook_hidden"].shape == (2, TASK.sequence_length, 12)
        assert logits.shape[-1] == TASK.d_vocab


def test_it_has_what_other_bodies_have() -> None:
    spec = RunSpec(TASK, LinearDecay(8), TRAINING, "frozen_mlp")
    assert spec_from_json(spec_to_json(spec)) == spec
    model = freeze(rtinterp.build_model(TASK, LinearDecay(8), seed=0), "mixing")
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"mix.W", "mix.decay"}
    trained, frozen = (step_flops(dataclasses.replace(spec, trainable=t)) for t in ("all", "embeddings"))
    assert trained > frozen
    low_rank = dataclasses.replace(spec, parametrisation=LowRank(2, ("mix.W",)), trainable="mixing")
    engine = Engine([low_rank], torch.device("cpu"))
    losses = [engine.step().item() for _ in range(10)]
    assert losses[-1] < losses[0]


def test_what_is_not_registered_or_not_declared_is_refused() -> None:
    @strict
    class Unregistered(LinearDecay):
        name: ClassVar[str] = "unregistered"

    with pytest.raises(ValueError, match=r"register_body\(.*Unregistered\)"):
        RunSpec(TASK, Unregistered(8), TRAINING)

    @register_body
    @strict
    class Undeclared(LinearDecay):
        name: ClassVar[str] = "undeclared"
        own_groups: ClassVar[frozenset[str]] = frozenset()

    with pytest.raises(ValueError, match="own_groups lacks: mixing"):
        RunSpec(TASK, Undeclared(8), TRAINING)
    text = spec_to_json(RunSpec(TASK, LinearDecay(8), TRAINING)).replace("linear_decay", "linear_decoy")
    with pytest.raises(ValueError, match="unknown body 'linear_decoy'; did you mean 'linear_decay'"):
        spec_from_json(text)


def test_a_name_is_taken_once() -> None:
    @strict
    class Second(LinearDecay):
        name: ClassVar[str] = ModelSpec.name

    with pytest.raises(ValueError, match="'transformer' is taken by rtinterp"):
        register_body(Second)
