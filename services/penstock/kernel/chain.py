"""Decisions as a chain: ids that follow from what caused them, and digests that name the decision before."""

from __future__ import annotations

import dataclasses
import hashlib
import uuid
from typing import Any, Final

import orjson

_NAMESPACE: Final = uuid.UUID("6f0c4f0e-5b0f-5c56-9f5e-6a6c1f9f6b3a")


def derived_id(*parts: object) -> str:
    """The same id for the same causes, on every replica and in every replay; a reader can drop repeats by it.

    >>> derived_id("cluster", "topic", 0, 17, "baseline") == derived_id("cluster", "topic", 0, 17, "baseline")
    True
    """
    return str(uuid.uuid5(_NAMESPACE, "/".join(str(part) for part in parts)))


def digest_of(event: Any) -> str:
    """Sha256, in hex, of a record's fields as canonical JSON."""
    fields = dataclasses.asdict(event)
    return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()
