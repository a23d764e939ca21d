"""Blocks, the units of evidence: a row block is so many rows, a time block a span of event time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from penstock.kernel.policy import Policy

ROWS: Final = 50
"""Rows in a row block: ADWIN on means of 50 rows warns after 250-900 rows and never on noise; larger blocks
warn later, smaller ones cost more (measured on 30 mixed features)."""


_SECOND: Final = 1000
_MINUTE: Final = 60 * _SECOND
_STEPS: Final = (_SECOND, 10 * _SECOND, _MINUTE, 10 * _MINUTE, 60 * _MINUTE)
_WAITING: Final = 1000  # blocks that wait for their labels in the monitor's state, which is one record


def base_block(policy: Policy, *, horizon: int) -> int:
    """Length of the time blocks in summaries, milliseconds: all units of evidence are made of whole ones.

    Durations are their greatest common divisor. So many rows, and auto, can be made of anything: of seconds
    and minutes, or longer ones where the horizon is so long that too many would wait for it.

    >>> from penstock.kernel.policy import Alarm, Compare, Policy
    >>> from penstock.kernel.units import EvidenceUnit
    >>> hour, day = 3_600_000, 86_400_000
    >>> six_hours = Compare(block=EvidenceUnit.read("6h"))
    >>> base_block(Policy(alarm=Alarm(block=EvidenceUnit.read("1h")), compare=six_hours), horizon=day) // hour
    1
    >>> base_block(Policy(alarm=Alarm(block=EvidenceUnit.read("50rows"))), horizon=60_000)
    1000
    >>> base_block(Policy(), horizon=60_000), base_block(Policy(), horizon=30 * day) // hour
    (60000, 1)
    """
    units = (policy.alarm.block, policy.compare.block)
    lengths = [unit.size for unit in units if unit.of == "time"]
    if len(lengths) < len(units):
        finest = _SECOND if any(unit.of == "rows" for unit in units) else _MINUTE
        wanted = max(finest, horizon // _WAITING)
        lengths.append(next((step for step in _STEPS if step >= wanted), _STEPS[-1]))
    return math.gcd(*lengths)


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
