"""Blocks, the units of evidence: a row block is so many rows, a time block a span of event time."""

from __future__ import annotations

from typing import Final

ROWS: Final = 50
"""Rows in a row block: ADWIN on means of 50 rows warns after 250-900 rows and never on noise; larger blocks
warn later, smaller ones cost more (measured on 30 mixed features)."""


def time_block(time: int, length: int) -> int:
    """Start of the time block that an event time falls in; milliseconds, blocks begin at 1970 and multiples.

    >>> time_block(3_700_000, 3_600_000)
    3600000
    """
    return time // length * length


def sealed(start: int, length: int, *, horizon: int, watermark: int | None) -> bool:
    """Whether no label of a time block can come in time any more.

    Args:
        start: of the block, milliseconds of event time.
        length: of the block, milliseconds.
        horizon: how late a label may come, milliseconds.
        watermark: how far event time is complete; None while unknown.

    >>> sealed(0, 3_600_000, horizon=7_200_000, watermark=10_800_000)
    False
    >>> sealed(0, 3_600_000, horizon=7_200_000, watermark=10_800_001)
    True
    """
    return watermark is not None and watermark > start + length + horizon


def watermark(seen: dict[str, int | None], *, idle: frozenset[str], before: int | None) -> int | None:
    """How far event time is complete over several inputs: the least that any busy one has reached.

    An input that was read to its end is idle and holds nobody up. Where all are idle, everything there is has
    been seen, so event time is as far as any of them. It never goes back.

    Args:
        seen: the greatest event time of each input, None before its first record.
        idle: the inputs read to their ends.
        before: the watermark so far.

    >>> watermark({"a": 10, "b": 7}, idle=frozenset(), before=None)
    7
    >>> watermark({"a": 10, "b": 7}, idle=frozenset({"b"}), before=7)
    10
    >>> watermark({"a": 10, "b": None}, idle=frozenset(), before=None) is None
    True
    """
    busy = [time for name, time in seen.items() if name not in idle]
    reached = [time for time in seen.values() if time is not None]
    if not reached or None in busy:
        return before
    now = min(time for time in busy if time is not None) if busy else max(reached)
    return now if before is None else max(before, now)
