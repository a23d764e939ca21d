"""Which versions count on a block, and which one was the champion: lifecycle events, pinned in event time.

What a decision changes takes hold at an event time that follows from the decision's own, whenever the monitor
learns of it. A version counts a horizon after it was asked for: by then it scores every row. A champion is
one from the decision on: its blocks are judged a horizon after they end, when it has long been heard of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from penstock.contracts.records import Purpose, Verdict, VersionRegistered, VersionStage, VersionStaged
from penstock.kernel.accepted import Accepted

Event = VersionRegistered | VersionStaged


class Staging(NamedTuple):
    """A version got a stage; `time` is the decision's, None from the beginning."""

    epoch: int
    stage: VersionStage
    time: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What is known of a version.

    Args:
        version: its number.
        lane: how it was made.
        purpose: why.
        asked: event time of the decision that asked for it; None for the baseline.
        metrics: of its manifest.
        claim: what the metrics say it was accepted with; None where that is nothing.
        refused: it is served to nobody.
        gated: the gate refused it, so it scores nothing unless somebody promotes it.
        stagings: in the order of epochs.
    """

    version: int
    lane: str
    purpose: Purpose
    asked: int | None
    metrics: Mapping[str, float]
    claim: Accepted | None = None
    refused: bool = False
    gated: bool = False
    stagings: tuple[Staging, ...] = ()

    def counts_since(self, start: int, end: int, *, horizon: int) -> int | None:
        """From when on the version has counted without a break, if it counts on [start, end); else None.

        The beginning of time is `NEVER`.
        """
        if self.refused:
            return None
        since, counting = _effective(self.asked, horizon), not self.gated
        for staging in self.stagings:
            if staging.stage is VersionStage.ARCHIVED:
                if counting and staging.time is not None and staging.time >= end:
                    break
                counting = False
            elif not counting:
                since, counting = _effective(staging.time, horizon), True
        return since if counting and since <= start else None


NEVER = -(2**62)
"""Before every event time."""


def _effective(time: int | None, horizon: int) -> int:
    return NEVER if time is None else time + horizon


def learn(lives: Mapping[int, Life], events: Iterable[Event]) -> dict[int, Life]:
    """The lives with more lifecycle events of one pipeline in them; the same event twice changes nothing."""
    after = dict(lives)
    for event in events:
        life = after.get(event.version)
        if isinstance(event, VersionRegistered):
            if life is None:
                after[event.version] = _registered(event)
        elif life is not None:
            staging = Staging(event.epoch, event.stage, event.event_time)
            if staging not in life.stagings:
                after[event.version] = replace(
                    life, stagings=tuple(sorted([*life.stagings, staging], key=_epoch))
                )
    return after


def _registered(event: VersionRegistered) -> Life:
    # The first version of all is the champion at once, by route epoch 1.
    first = event.stage is VersionStage.CHAMPION
    return Life(
        version=event.version,
        lane=event.lane,
        purpose=event.purpose,
        asked=event.asked,
        metrics=event.metrics,
        claim=Accepted.of(event.metrics),
        # What the gate refused was never routed, unless somebody promotes it: then it counts from there on.
        refused=event.stage is VersionStage.REFUSED,
        gated=event.verdict is Verdict.REFUSED,
        stagings=(Staging(1, VersionStage.CHAMPION, event.asked),) if first else (),
    )


def _epoch(staging: Staging) -> int:
    return staging.epoch


class Counting(NamedTuple):
    """A version on a block."""

    life: Life
    since: int
    """event time from which on it has counted without a break"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """All versions of a pipeline over time.

    Args:
        lives: by version.
        horizon: of the labels, milliseconds.
    """

    lives: Mapping[int, Life]
    horizon: int

    @property
    def epoch(self) -> int:
        """Of the newest route that is known."""
        return max((staging.epoch for life in self.lives.values() for staging in life.stagings), default=0)

    @property
    def first_trained(self) -> Life | None:
        """The first version that learned anything: a yardstick, scored for ever."""
        trained = (
            life
            for life in self.lives.values()
            if not (life.refused or life.gated) and life.purpose is not Purpose.BASELINE
        )
        return min(trained, key=lambda life: life.version, default=None)

    def counting(self, start: int, end: int) -> dict[int, Counting]:
        """The versions that count on all of [start, end), by number, in ascending order."""
        found = {}
        for version in sorted(self.lives):
            since = self.lives[version].counts_since(start, end, horizon=self.horizon)
            if since is not None:
                found[version] = Counting(self.lives[version], since)
        return found

    def champions(self, start: int) -> tuple[int | None, int | None]:
        """The champion of a block that starts then, and the version that was it before."""
        crowned = sorted(
            (staging.epoch, version)
            for version, life in self.lives.items()
            for staging in life.stagings
            if staging.stage is VersionStage.CHAMPION and (staging.time is None or staging.time <= start)
        )
        if not crowned:
            return None, None
        champion = crowned[-1][1]
        former = next((version for _, version in reversed(crowned) if version != champion), None)
        return champion, former

    def is_yardstick(self, version: int) -> bool:
        """Version 0 and the first trained one are scored for ever, whatever became of their lanes."""
        first = self.first_trained
        return self.lives[version].purpose is Purpose.BASELINE or (
            first is not None and first.version == version
        )

    def lanes(self, start: int, counting: Iterable[int], *, champion: int) -> dict[str, int]:
        """The version that stands for each lane: the champion for its own, else the newest that counts.

        The baseline is a lane only while it is the champion's, and a yardstick stands for its lane only until
        another version of the lane has begun to count.

        Args:
            start: of the block.
            counting: the versions that count on it, in ascending order.
            champion: of it.
        """
        current: dict[str, int] = {}
        for version in counting:
            life = self.lives[version]
            outgrown = any(
                other.lane == life.lane
                and other.version > version
                and not (other.refused or other.gated)
                and _effective(other.asked, self.horizon) <= start
                for other in self.lives.values()
            )
            if life.purpose is not Purpose.BASELINE and not (outgrown and self.is_yardstick(version)):
                current[life.lane] = version
        return {**current, self.lives[champion].lane: champion}
