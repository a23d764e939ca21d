"""Which blocks are complete: how far each partition is, and what waits for the slowest of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from penstock.kernel import blocks as kernel
from penstock.monitor.domain.block import Block

_DAY: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one partition's summaries are.

    Args:
        sequence: of the next summary.
        predictions: offset that the next summary begins at.
        outcomes: the same.
        begun: offset of the outcomes that the first summary began at.
        watermark: as the join said it last.
        idle: the same.
    """

    sequence: int
    predictions: int
    outcomes: int
    begun: int
    watermark: int | None
    idle: bool


def complete(
    partitions: Mapping[int, Progress], *, count: int, horizon: int, before: int | None
) -> int | None:
    """How far event time is complete, over all partitions.

    That a partition is idle is old news by the time its next summary comes: outcomes may be on their way
    together with a later watermark. So an idle partition holds the others up, though only by so much; where
    one join instance writes to all partitions, as it mostly is, the news comes in the same transaction.

    Args:
        partitions: those that were heard of.
        count: how many there are; a partition never heard of holds up all.
        horizon: of the labels, milliseconds.
        before: the watermark so far.

    >>> def progress(watermark, *, idle=False):
    ...     return Progress(
    ...         sequence=1, predictions=0, outcomes=0, begun=0, watermark=watermark, idle=idle
    ...     )
    >>> complete({0: progress(10), 1: progress(7)}, count=2, horizon=5, before=None)
    7
    >>> complete({0: progress(10), 1: progress(7, idle=True)}, count=2, horizon=5, before=None)
    7
    >>> day = 86_400_000
    >>> complete({0: progress(30 * day), 1: progress(7, idle=True)}, count=2, horizon=5, before=None) // day
    29
    >>> complete({0: progress(10)}, count=2, horizon=5, before=None) is None
    True
    """
    if len(partitions) < count:
        return before
    seen = {str(partition): each.watermark for partition, each in partitions.items()}
    idle = frozenset(str(partition) for partition, each in partitions.items() if each.idle)
    best = kernel.watermark(seen, idle=idle, before=None)
    if best is None:
        return before
    floor = best - max(horizon, _DAY)
    held = [
        floor if each.watermark is None else max(floor, each.watermark)
        for each in partitions.values()
        if each.idle
    ]
    now = min([best, *held])
    return now if before is None else max(before, now)


def taken(
    waiting: Sequence[Block], new: Iterable[Block], *, horizon: int, watermark: int | None
) -> tuple[Block, ...]:
    """The blocks that wait with new parts in them, in the order of their ends.

    A part of a block that is sealed comes too late to be evidence.
    """
    merged = {(block.end, block.start): block for block in waiting}
    for part in new:
        if _sealed(part.end, horizon=horizon, watermark=watermark):
            continue
        key = part.end, part.start
        before = merged.get(key)
        merged[key] = part if before is None else before.plus(part)
    return tuple(merged[key] for key in sorted(merged))


def _sealed(end: int, *, horizon: int, watermark: int | None) -> bool:
    return kernel.sealed(end, 0, horizon=horizon, watermark=watermark)
