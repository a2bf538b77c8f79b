"""Stores: where backups live. `open_store` gives the right one for a URL."""

from toolkit.store.locate import open_store
from toolkit.store.memory import MemoryStore
from toolkit.store.protocol import AdminStore, Credentials, ObjectInfo, ObjectStore

__all__ = ["AdminStore", "Credentials", "MemoryStore", "ObjectInfo", "ObjectStore", "open_store"]
