"""Finished runs on disk."""

from rtinterp.store.errors import StoreError
from rtinterp.store.run_store import RunStore

__all__ = ["RunStore", "StoreError"]
