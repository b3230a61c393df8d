"""A pretended second device, so that code for a GPU is checked for forgotten transfers where there is none.

Its tensors hold a tensor on the CPU, compute there, and raise where a real device would: when an operation mixes them
with tensors on the CPU. Torch's device type "meta" stands for it, since autograd accepts that everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.optim import optimizer
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

from rtinterp.tasks import draws
from rtinterp.training import capacity, cross_entropy, stream

PRETENDED = torch.device("meta")
#: What CUDA, too, does between devices.
CROSSES_DEVICES = ("aten.copy_", "aten._to_copy", "aten.index.")


class Pretended(torch.Tensor):
    """A tensor that says it is on the pretended device."""

    #: Paths that are for CUDA alone are taken.
    is_cuda = True
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Pretended:
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        tensor = torch.Tensor._make_wrapper_subclass(cls, held.size(), device=PRETENDED, **layout)
        tensor.held = held
        return tensor

    def __init__(self, held: torch.Tensor) -> None:
        pass

    def tolist(self) -> list[Any]:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return computed(operation, args, kwargs or {})


class _Creations(TorchDispatchMode):
    """Also catches what makes tensors on the device out of nothing, or of tensors on the CPU."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if any(issubclass(of, Pretended) for of in types) or _is_pretended(kwargs.get("device")):
            return computed(operation, args, kwargs)
        return operation(*args, **kwargs)


def computed(operation: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """The result of an operation, on the device that it belongs to.

    Raises:
        RuntimeError: devices are mixed.
    """
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    on_device = any(isinstance(tensor, Pretended) for tensor in tensors)
    on_cpu = any(not isinstance(tensor, Pretended) and tensor.dim() for tensor in tensors)
    if on_device and on_cpu and not str(operation).startswith(CROSSES_DEVICES):
        raise RuntimeError(f"{operation} mixes devices")
    asked = kwargs.get("device")
    held_kwargs = {**kwargs, **({"device": torch.device("cpu")} if asked is not None else {})}
    held_kwargs.pop("pin_memory", None)
    result = operation(*tree_map(_held, args), **tree_map(_held, held_kwargs))
    if not (_is_pretended(asked) or (on_device and asked is None)):
        return result
    result = tree_map(lambda leaf: Pretended(leaf) if isinstance(leaf, torch.Tensor) else leaf, result)
    return return_and_correct_aliasing(operation, args, kwargs, result) if on_device else result


def _held(leaf: Any) -> Any:
    return leaf.held if isinstance(leaf, Pretended) else leaf


def _is_pretended(device: torch.device | str | None) -> bool:
    return device is not None and torch.device(device) == PRETENDED


class _Generator:
    """A generator of the pretended device, as far as training streams use one."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.held = device, torch.Generator()
        self.get_state, self.set_state = self.held.get_state, self.held.set_state

    def manual_seed(self, seed: int) -> _Generator:
        self.held.manual_seed(seed)
        return self


class _TorchWith:
    """The torch module as one of our modules sees it, with a name replaced."""

    def __init__(self, **replaced: Callable[..., Any]) -> None:
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@pytest.fixture
def pretended_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """The device, with everything that torch has compiled for real devices alone replaced."""
    uniform, tensor = draws.uniform, torch.tensor

    def drawn(low: int, high: int, shape: tuple[int, ...], generator: Any) -> torch.Tensor:
        if isinstance(generator, _Generator):
            return uniform(low, high, shape, generator.held).to(generator.device)
        return uniform(low, high, shape, generator)

    def made(data: Any, *, device: torch.device | None = None, **fields: Any) -> torch.Tensor:
        return Pretended(tensor(data, **fields)) if _is_pretended(device) else tensor(data, device=device, **fields)

    monkeypatch.setattr(draws, "uniform", drawn)
    monkeypatch.setattr(torch, "tensor", made)
    monkeypatch.setattr(stream, "torch", _TorchWith(Generator=_Generator))
    monkeypatch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: ["cpu", "cuda", PRETENDED.type])
    sizes_by_device = (
        capacity.CHUNK_ELEMENTS,
        capacity.ROWS_PER_MODEL,
        cross_entropy.LOGITS_AT_ONCE,
        stream.BLOCK_SEQUENCES,
    )
    for sizes in sizes_by_device:
        monkeypatch.setitem(sizes, PRETENDED.type, sizes["cuda"])
    # The same data as on the CPU.
    monkeypatch.setitem(stream.BLOCK_SEQUENCES, PRETENDED.type, stream.BLOCK_SEQUENCES["cpu"])
    with _Creations():
        yield PRETENDED
