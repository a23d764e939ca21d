"""What Avro's plain values mean: a time is milliseconds, a decimal a number, a UUID text.

Records are read with plain values, and only the columns that were asked for are given their meaning, all rows
at once. Times are milliseconds since 1970, whatever unit they were written in; what is finer is cut off.
"""

from __future__ import annotations

import math
import uuid
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from penstock.kernel.avrotypes import ambiguous
from penstock.kernel.columns import Words
from penstock.kernel.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.kernel.avrotypes import AvroType, Leaf
    from penstock.kernel.columns import Values

_MS_OF_DAY: Final = 86_400_000
_LONGEST: Final = 512
"""Bytes of a decimal that has as many digits as a schema may give it."""
_TO_MS: Final[dict[str, Callable[[Any], Any]]] = {
    "date": lambda days: days * _MS_OF_DAY,
    "local-timestamp-micros": lambda value: value // 1000,
    "local-timestamp-nanos": lambda value: value // 1_000_000,
    "time-micros": lambda value: value / 1000,
    "timestamp-micros": lambda value: value // 1000,
    "timestamp-nanos": lambda value: value // 1_000_000,
}
"""For a number, or an array of them, in which NaN stays NaN."""


def meaning(leaf: Leaf, path: str) -> Callable[[Values], Values] | None:
    """What makes a column of plain values one of what they mean; None where they mean what they are.

    Args:
        leaf: what the schema says stands there.
        path: for the message.

    Raises:
        Invalid: two types that may stand there cannot be told apart.
    """
    if told := ambiguous(leaf.types):
        message = f"field {path!r} may be {told}, which cannot be told apart"
        raise Invalid(message, field=path, reason="schema")
    by_type: dict[type, Callable[[Any], Any]] = {}
    for each in leaf.types:
        if each.logical in _TO_MS:
            by_type[int] = _TO_MS[each.logical]
        elif each.logical == "decimal":
            by_type[bytes] = _decimal(each.scale)
        elif each.logical == "uuid" and each.kind == "fixed":
            by_type[bytes] = _uuid
        elif each.kind == "enum" and (word := _word(leaf.words)) is not None:
            by_type[str] = word
    if not by_type:
        return None
    return lambda values: _meant(values, by_type)


def default_of(leaf: Leaf) -> Any:
    """What stands for a field that its writer did not have, as a plain value."""
    value = leaf.default
    if isinstance(value, str) and leaf.types and leaf.types[0].kind in ("bytes", "fixed"):
        return value.encode("latin-1", "replace")  # so Avro writes bytes in JSON
    return value


def _meant(values: Values, by_type: dict[type, Callable[[Any], Any]]) -> Values:
    if isinstance(values, Words):
        return Words([_one(word, by_type) for word in values.words], values.codes)
    if isinstance(values, np.ndarray):
        to_ms = by_type.get(int)
        return values if to_ms is None else to_ms(values)
    return [_one(value, by_type) for value in values]


def _one(value: Any, by_type: dict[type, Callable[[Any], Any]]) -> Any:
    means = by_type.get(type(value))
    return value if means is None else means(value)


def _decimal(scale: int) -> Callable[[bytes], int | float]:
    """A whole number where there are no digits after the point: it may be an id. Else a double."""
    unit: int = 10**scale

    def read(raw: bytes) -> int | float:
        if len(raw) > _LONGEST:
            return -math.inf if raw[0] & 0x80 else math.inf
        unscaled = int.from_bytes(raw, "big", signed=True)
        if not scale:
            return unscaled
        try:
            return float(unscaled / unit)
        except OverflowError:
            return math.inf if unscaled > 0 else -math.inf

    return read


def _uuid(raw: bytes) -> str:
    return str(uuid.UUID(bytes=raw))


def _word(known: AvroType | None) -> Callable[[str], str] | None:
    """A word that the reader's enum does not know is its default, where it has one; else it stays."""
    if known is None or (default := known.default) is None:
        return None
    words = frozenset(known.symbols)
    return lambda word: word if word in words else default
