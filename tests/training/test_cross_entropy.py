"""The sliced cross-entropy against PyTorch's, in value, in gradients and in what it holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from training_references import CPU, distance, small_run

from rtinterp.models.layers import Affine
from rtinterp.tasks import ModularAddition
from rtinterp.training import cross_entropy as module
from rtinterp.training.cross_entropy import cross_entropy, cross_entropy_and_predictions
from rtinterp.training.engine import Engine

N_MODELS, N_ROWS, D_MODEL, D_VOCAB = 2, 23, 6, 40


@dataclasses.dataclass(frozen=True)
class Case:
    """Leaves, of which some require grad, and the targets."""

    residual: Tensor
    weight: Tensor
    bias: Tensor | None
    targets: Tensor

    @property
    def leaves(self) -> list[Tensor]:
        return [x for x in (self.residual, self.weight, self.bias) if x is not None]

    def losses(self) -> tuple[Tensor, Tensor]:
        """Differentiable, and once more beside the predictions, without gradients."""
        arguments = self.residual, Affine(self.weight, self.bias), self.targets
        losses, (again, predicted) = cross_entropy(*arguments), cross_entropy_and_predictions(*arguments)
        assert torch.equal(losses, again)
        assert not again.requires_grad
        return losses, predicted


def case(trains_weight: bool = True, has_bias: bool = False) -> Case:
    generator = torch.Generator().manual_seed(0)

    def leaf(*shape: int, trains: bool) -> Tensor:
        return torch.randn(shape, generator=generator).requires_grad_(trains)

    return Case(
        residual=leaf(N_MODELS, N_ROWS, D_MODEL, trains=True),
        weight=leaf(N_MODELS, D_MODEL, D_VOCAB, trains=trains_weight),
        bias=leaf(N_MODELS, 1, D_VOCAB, trains=trains_weight) if has_bias else None,
        targets=torch.randint(0, D_VOCAB, (N_MODELS, N_ROWS), generator=generator),
    )


def plain_losses(of: Case) -> tuple[Tensor, Tensor]:
    logits = of.residual @ of.weight + (0 if of.bias is None else of.bias)
    return F.cross_entropy(logits.transpose(1, 2), of.targets, reduction="none"), logits.argmax(-1)


def gradients(of: Case, losses: Tensor) -> list[Tensor]:
    """Of a sum in which every row has another weight; as where padding counts nothing, one has none."""
    weights = torch.linspace(-1, 2, losses.numel()).view_as(losses).clone()
    weights[:, 3] = 0
    return list(torch.autograd.grad((losses * weights).sum(), [x for x in of.leaves if x.requires_grad]))


@pytest.fixture(params=[1, 200, 7 * N_MODELS * D_VOCAB, 10**6], ids=["one row", "two rows", "seven rows", "all rows"])
def allowed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many logits may be held at once; one row of every model is the least."""
    monkeypatch.setitem(module.LOGITS_AT_ONCE, "cpu", request.param)
    return max(request.param, N_MODELS * D_VOCAB)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many logits every product with the unembedding made."""
    seen: list[int] = []
    product = Affine.__call__

    def counting(self: Affine, x: Tensor) -> Tensor:
        result = product(self, x)
        seen.append(result.numel())
        return result

    monkeypatch.setattr(Affine, "__call__", counting)
    return seen


@pytest.mark.parametrize("has_bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("trains_weight", [False, True], ids=["weight frozen", "weight trained"])
@pytest.mark.usefixtures("allowed")
def test_losses_predictions_and_gradients_are_those_of_torch(trains_weight: bool, has_bias: bool) -> None:
    ours = case(trains_weight, has_bias)
    losses, predicted = ours.losses()
    expected_losses, expected_predicted = plain_losses(ours)
    torch.testing.assert_close(losses, expected_losses, rtol=1e-5, atol=1e-6)
    assert torch.equal(predicted, expected_predicted)
    found, expected = gradients(ours, losses), gradients(ours, expected_losses)
    assert len(found) == len(expected) == 1 + trains_weight * (1 + has_bias)
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


def test_the_same_gradients_where_only_the_unembedding_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.LOGITS_AT_ONCE, "cpu", 200)
    ours = dataclasses.replace(case(), residual=case().residual.detach())
    (found,), (expected,) = (gradients(ours, of(ours)[0]) for of in (Case.losses, plain_losses))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_no_more_logits_than_allowed(allowed: int, computed: list[int]) -> None:
    ours = case(has_bias=True)
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = cross_entropy(ours.residual, Affine(ours.weight, ours.bias), ours.targets)
    assert len(computed) == -(-N_ROWS // min(N_ROWS, allowed // (N_MODELS * D_VOCAB))), "each row once"
    gradients(ours, losses)
    assert max(computed) <= allowed
    if allowed < N_MODELS * N_ROWS * D_VOCAB:
        rows_kept = [tensor for tensor in kept if tensor.shape[-1] == D_VOCAB and tensor.shape[:-1].numel() > N_MODELS]
        assert all(tensor.data_ptr() == ours.weight.data_ptr() for tensor in rows_kept), "no logits wait for backward"


def test_large_logits_do_not_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.LOGITS_AT_ONCE, "cpu", 200)
    ours = case()
    with torch.no_grad():
        ours.weight.mul_(1e4)
    losses, _ = ours.losses()
    expected, _ = plain_losses(ours)
    assert losses.isfinite().all()
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=0)
    assert all(gradient.isfinite().all() for gradient in gradients(ours, losses))


@pytest.mark.parametrize("trainable", ["embeddings", "all", "input_embeddings"])
def test_training_is_the_same_with_and_without_slices(trainable, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [small_run(ModularAddition(p=23), trainable, seed, batch_size=32) for seed in (0, 1)]
    whole = Engine(specs, CPU)
    losses = torch.stack([whole.step() for _ in range(3)])
    evaluation = whole.test()
    monkeypatch.setitem(module.LOGITS_AT_ONCE, "cpu", 300)
    sliced = Engine(specs, CPU)
    torch.testing.assert_close(torch.stack([sliced.step() for _ in range(3)]), losses, rtol=1e-4, atol=0)
    torch.testing.assert_close(sliced.test().loss, evaluation.loss, rtol=1e-4, atol=0)
    assert distance(sliced.trained_tensors(1), whole.trained_tensors(1)) < 1e-3
