"""Dotted paths into nested values."""

from __future__ import annotations

from collections.abc import Mapping


def dig(record: Mapping[str, object], path: str) -> object:
    """What stands at a path; None where it leads nowhere.

    A key that is written with the dots, as flattened records have it, comes first.

    >>> dig({"order": {"id": 7}}, "order.id"), dig({"order.id": 7}, "order.id"), dig({"order": 7}, "order.id")
    (7, 7, None)
    """
    if path in record:
        return record[path]
    at: object = record
    for segment in path.split("."):
        if not isinstance(at, Mapping):
            return None
        at = at.get(segment)
    return at
