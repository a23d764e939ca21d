"""Dotted paths into nested values."""

from __future__ import annotations

from collections.abc import Mapping


def dig(record: Mapping[str, object], path: str) -> object:
    """What stands at a path; None where it leads nowhere.

    Where it does, a key that is itself written with the dots counts, as flattened records have it.

    >>> dig({"order": {"id": 7}}, "order.id"), dig({"order.id": 7}, "order.id"), dig({"order": 7}, "order.id")
    (7, 7, None)
    """
    at: object = record
    for segment in path.split("."):
        at = at.get(segment) if isinstance(at, Mapping) else None
    return record.get(path) if at is None else at
