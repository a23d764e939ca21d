"""Units of evidence: consecutive base blocks taken together until they are one observation.

A duration makes aligned spans of event time; so many rows, consecutive blocks until they hold that many with
a label. `auto` is a hundredth of what the first training waits for until there is a trained version, so that
time passes often enough on any scale; as soon as that counts, it is what its manifest found long enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from penstock.kernel.blocks import time_block
from penstock.kernel.units import EvidenceUnit
from penstock.monitor.domain.block import Block
from penstock.monitor.domain.versions import Calendar

DAY: Final = 86_400_000
DAILY: Final = EvidenceUnit(of="time", size=DAY)


def in_force(unit: EvidenceUnit, calendar: Calendar, start: int, *, before: int) -> EvidenceUnit:
    """The unit of a block that starts then: a duration or so many rows, never auto.

    Args:
        unit: as the policy has it.
        calendar: of the versions.
        start: event time.
        before: length of an automatic unit while nothing is known of the stream, milliseconds.
    """
    if unit.of != "auto":
        return unit
    unknown = EvidenceUnit(of="time", size=before)
    first = calendar.first_trained
    if first is None or first.asked is None or not (size := int(first.metrics.get("unit", 0))):
        return unknown
    # Where a unit of the one kind ends, so that it does not reach into one of the other.
    begins = -time_block(-(first.asked + calendar.horizon), before)
    return EvidenceUnit(of="time", size=size) if start >= begins else unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A unit that is not complete yet.

    Args:
        unit: that it was opened as; what is in force may change meanwhile.
        block: what is in it so far; a unit of time has its end from the beginning on.
    """

    unit: EvidenceUnit
    block: Block

    @property
    def due(self) -> int | None:
        """Event time at which it is complete; None where rows decide."""
        return None if self.unit.of == "rows" else self.block.end

    def closes(self, now: int) -> bool:
        """Whether it is complete at an event time up to which everything is in it."""
        return self.block.rows >= self.unit.size if self.due is None else now >= self.due


def grown(opened: Opened | None, block: Block, unit: EvidenceUnit) -> Opened:
    """The open unit with one more base block in it; a new one where none is open.

    Args:
        opened: the unit that is open.
        block: begins after everything that is in it.
        unit: what is in force, for a new one; of time, it is made long enough for whole base blocks.
    """
    if opened is not None:
        return Opened(unit=opened.unit, block=opened.block.plus(block))
    if unit.of == "rows":
        return Opened(unit=unit, block=block)
    length = block.end - block.start
    size = -(-unit.size // length) * length
    start = time_block(block.start, size)
    return Opened(unit=unit, block=Block(start=start, end=max(start + size, block.end)).plus(block))
