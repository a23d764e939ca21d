"""Where the join keeps what it knows: in memory, or on disk as a cache of the log that says how old it is.

`shelves` is what the join asks of either. `rocks` is the one on disk, and RocksDB's only home; `staging` is
what a transaction has changed and not written yet, `packing` a case as bytes.
"""

from __future__ import annotations

from penstock.ingest.store.rocks import Rocks
from penstock.ingest.store.shelves import Cache, MemoryCache, Note, Place, Shelf

__all__ = ["Cache", "MemoryCache", "Note", "Place", "Rocks", "Shelf"]
