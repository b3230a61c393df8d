"""rtinterp: train random transformers in their embeddings alone, and open them up.

The public names load on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtinterp.models.recurrent.spec import RecurrentSpec as RecurrentSpec
    from rtinterp.models.regimes import freeze as freeze
    from rtinterp.models.transformer.hooked import build_model as build_model
    from rtinterp.models.transformer.spec import ModelSpec as ModelSpec
    from rtinterp.store.run_store import RunStore as RunStore
    from rtinterp.store.run_store import StoreError as StoreError
    from rtinterp.store.training import train as train
    from rtinterp.tasks import register_task as register_task
    from rtinterp.training.loop import DivergenceError as DivergenceError
    from rtinterp.training.run import Run as Run
    from rtinterp.training.spec import RunSpec as RunSpec
    from rtinterp.training.spec import TrainSpec as TrainSpec

_HOME = {
    "ModelSpec": "rtinterp.models.transformer.spec",
    "RecurrentSpec": "rtinterp.models.recurrent.spec",
    "build_model": "rtinterp.models.transformer.hooked",
    "freeze": "rtinterp.models.regimes",
    "TrainSpec": "rtinterp.training.spec",
    "RunSpec": "rtinterp.training.spec",
    "Run": "rtinterp.training.run",
    "train": "rtinterp.store.training",
    "DivergenceError": "rtinterp.training.loop",
    "RunStore": "rtinterp.store.run_store",
    "StoreError": "rtinterp.store.run_store",
    "register_task": "rtinterp.tasks",
}
_SUBPACKAGES = ("analysis", "figures", "models", "store", "tasks", "training")

__all__ = [*_HOME, *_SUBPACKAGES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _SUBPACKAGES:
        return importlib.import_module(f"rtinterp.{name}")
    raise AttributeError(f"module 'rtinterp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
