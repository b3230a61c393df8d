"""Finished runs on disk."""

from rtinterp.store.record import StoreError
from rtinterp.store.run_store import RunStore

__all__ = ["RunStore", "StoreError"]
