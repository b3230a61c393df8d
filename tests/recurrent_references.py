"""LSTMs and RNNs as PyTorch builds and runs them, for tests of every part of the package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.training.optimiser import learning_rate
from rtinterp.training.spec import RunSpec
from rtinterp.training.stream import TrainingStream

CELLS = {"lstm": nn.LSTM, "rnn": nn.RNN}

#: Odd widths, one layer and three; a width of one.
RECURRENT_SPECS = [
    RecurrentSpec(d_model=16),
    RecurrentSpec(d_model=13, n_layers=3, cell="rnn"),
    RecurrentSpec(d_model=7, n_layers=1),
    RecurrentSpec(d_model=1, cell="rnn"),
]


class TorchRecurrent(nn.Module):
    """Embedding, nn.LSTM or nn.RNN, Linear."""

    def __init__(self, spec: RecurrentSpec, d_vocab: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(d_vocab, spec.d_model)
        self.body = CELLS[spec.cell](spec.d_model, spec.d_model, spec.n_layers, batch_first=True)
        self.decoder = nn.Linear(spec.d_model, d_vocab)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decoder(self.body(self.embedding(tokens))[0])


def torch_recurrent(spec: RecurrentSpec, d_vocab: int, seed: int = 0) -> TorchRecurrent:
    """At PyTorch's own initial values."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TorchRecurrent(spec, d_vocab)


def torch_name(name: str) -> str:
    """PyTorch's name of one of our parameters; its decoder weight is our ``W_U`` transposed."""
    if name.startswith("layers."):
        _, layer, kind = name.split(".")
        return f"body.{kind}_l{layer}"
    return {"embed.W_E": "embedding.weight", "unembed.W_U": "decoder.weight", "unembed.b_U": "decoder.bias"}[name]


def ours(name: str, theirs: Tensor) -> Tensor:
    """PyTorch's parameter, or its gradient, as we lay it out."""
    return theirs.T if name == "unembed.W_U" else theirs


def by_our_names(model: TorchRecurrent, names: Iterable[str]) -> dict[str, nn.Parameter]:
    parameters = dict(model.named_parameters())
    return {name: parameters[torch_name(name)] for name in names}


def with_our_weights(spec: RecurrentSpec, tensors: Mapping[str, Tensor]) -> TorchRecurrent:
    model = torch_recurrent(spec, tensors["embed.W_E"].shape[0])
    model.load_state_dict({torch_name(name): ours(name, tensor) for name, tensor in tensors.items()})
    return model


def planted_recurrent(spec: RecurrentSpec, d_vocab: int, seed: int) -> dict[str, Tensor]:
    """Weights large enough that gates open and close, and positions far back matter."""
    return {name: (1.0 if "W_E" in name else 2.0) * x for name, x in spec.initial_tensors(d_vocab, 1, seed).items()}


def stacked(models: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    models = list(models)
    return {name: torch.stack([tensors[name] for tensors in models]) for name in models[0]}


def train_alone(model: TorchRecurrent, spec: RunSpec, n_steps: int) -> list[float]:
    """The official recipe in torch, in place; the losses before each step."""
    training = spec.training
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for name, p in named if "weight" in name], "weight_decay": training.weight_decay},
        {"params": [p for name, p in named if "weight" not in name], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, eps=training.adam_eps)
    stream = TrainingStream(spec.task, training.batch_size, spec.seed, torch.device("cpu"))
    losses = []
    for step in range(n_steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, training)
        optimiser.zero_grad()
        batch = stream.next_batch()
        logits = model(batch.tokens)[:, :-1][batch.scored[:, :-1]]
        loss = F.cross_entropy(logits, batch.tokens[:, 1:][batch.scored[:, :-1]])
        loss.backward()
        nn.utils.clip_grad_norm_([p for _, p in named], training.max_grad_norm)
        optimiser.step()
        losses.append(loss.item())
    return losses
