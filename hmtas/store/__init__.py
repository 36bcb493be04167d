"""The embedding store: a season as memory-mapped Arrow files, on a disk or in a service."""

from hmtas.store.local import EmbeddingStore
from hmtas.store.remote import is_remote, open_store

__all__ = ["EmbeddingStore", "is_remote", "open_store"]
