"""How far event time is complete for the partitions of a pipeline that a process has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from penstock.kernel.blocks import watermark


class Elsewhere(NamedTuple):
    """What the log says of a partition that another process has."""

    watermark: int | None
    idle: bool


UNHEARD = Elsewhere(None, idle=False)
"""Of a partition whose process has said nothing yet: it holds everybody up who waits for others."""


@dataclass(slots=True)
class Clock:
    """Event time over the inputs of all partitions that are here: the least that any busy one has reached.

    As long as one of them is busy, that is all there is to it. Where everything here was read to its end,
    event time goes on with the partitions that other processes have, as if they were here: else what waits on
    a quiet partition would wait for ever. Who is busy never looks elsewhere, so nobody waits in a circle.

    >>> clock = Clock(seen={"predictions/0": None, "labels/0": None})
    >>> clock.saw("predictions/0", 7)
    >>> clock.now() is None  # what labels there are is not known yet
    True
    >>> clock.rest({"labels/0"})
    >>> clock.now()
    7
    >>> clock.elsewhere["1"] = Elsewhere(30, idle=False)
    >>> clock.now()
    7
    >>> clock.rest({"predictions/0"})
    >>> clock.now()
    30
    """

    seen: dict[str, int | None] = field(default_factory=dict)
    """The greatest event time of each input. What gRPC clients ask does not move it, so a client that never
    rests keeps nothing from being complete."""
    elsewhere: dict[str, Elsewhere] = field(default_factory=dict)
    _idle: frozenset[str] = frozenset()

    def saw(self, name: str, time: int) -> None:
        """An input has brought something."""
        before = self.seen.get(name)
        if before is None or time > before:
            self.seen[name] = time
        if name in self._idle:
            self._idle -= {name}

    def rest(self, names: Iterable[str]) -> None:
        """These inputs were read to their ends."""
        self._idle |= self.seen.keys() & names

    def idle(self, *names: str) -> bool:
        """Whether all of these were read to their ends since they last moved event time."""
        return self._idle.issuperset(names)

    @property
    def resting(self) -> bool:
        """Whether everything here was read to its end."""
        return self.idle(*self.seen)

    def now(self) -> int | None:
        """How far event time is complete; None where that cannot be said."""
        if not (self.elsewhere and self.resting):
            return watermark(self.seen, idle=self._idle, before=None)
        seen = {**self.seen, **{name: each.watermark for name, each in self.elsewhere.items()}}
        resting = {name for name, each in self.elsewhere.items() if each.idle}
        return watermark(seen, idle=self._idle | resting, before=None)
