"""Finished runs on disk."""

from rtinterp.store.errors import StoreError, UnregisteredError
from rtinterp.store.run_store import RunStore

__all__ = ["RunStore", "StoreError", "UnregisteredError"]
