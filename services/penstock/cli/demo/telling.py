"""The story while it happens, in lines a person can follow: the first way of a version to champion step by
step, later ones in a line each, and whatever is out of the ordinary.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from penstock.cli.demo.flights import day_of
from penstock.cli.telling.figures import e_value, version
from penstock.contracts import records as r

if TYPE_CHECKING:
    from collections.abc import Callable

    Say = Callable[[str], None]

_ALARM = "alarm"
"""The lane of what is trained after an alarm."""


def days(start: int | None, end: int | None) -> str:
    """A stretch of event days, as it stands in a sentence.

    >>> from penstock.cli.demo.flights import DAY_MS, START_MS
    >>> days(None, START_MS + 28 * DAY_MS), days(START_MS + 14 * DAY_MS, START_MS + 70 * DAY_MS)
    ('days 0 to 28', 'days 14 to 70')
    """
    begin = 0.0 if start is None else day_of(start)
    return f"days {begin:.0f} to {'now' if end is None else f'{day_of(end):.0f}'}"


class Teller:
    """Tells what the governor decides, as it is read from the log.

    Args:
        say: gets each line.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._models: dict[int, r.Manifest] = {}
        self._champions: list[tuple[int, str]] = []
        """Who became champion, by number and lane."""
        self._steps: dict[int, list[float]] = {}
        """Event days on which a challenger began each of its canary's shares."""
        self._shadows: list[str] = []
        """Versions that nobody was told of yet: they wait beside the champion."""
        self._refused: list[str] = []
        """The same of those that their gate refused."""

    def take(self, event: Any) -> None:
        """An event of the control topics."""
        if isinstance(event, r.ModelRegistered):
            self._models[event.version] = event.manifest
        elif line := _line(event, self):
            self._tell(event.event_time, line)

    def _tell(self, time: int | None, line: str) -> None:
        day = "" if time is None else f"day {day_of(time):5.1f}  "
        self._say(f"{day}{line}")

    # What each decision says; an empty line is not told.

    def baseline(self, _: r.BaselineRequested) -> str:
        return "version 0 is built: it says what is usual, until there is something to learn from"

    def retrain(self, decision: r.RetrainRequested) -> str:
        if decision.purpose is r.Purpose.ALARM:
            return "" if decision.stage else self._alarm(decision)
        if decision.purpose is not r.Purpose.FIRST:
            return ""
        rows = f"the labelled rows of {days(decision.since, decision.cut)}"
        return f"training of lane {decision.lane}, the first of all, on {rows}"

    def _alarm(self, decision: r.RetrainRequested) -> str:
        """That there was one: the first training that answers it says so."""
        failing = decision.champion
        who = "the champion" if failing is None else version(failing, dict(self._champions).get(failing, ""))
        since = "" if decision.onset is None else f" since day {day_of(decision.onset):.1f}"
        return f"ALARM: {who} fails{since}; to be trained anew, on what came since"

    def shadow(self, decision: r.ShadowStarted) -> str:
        who = self._who(decision)
        if self._promoted:
            self._shadows.append(who)
            return ""
        return f"shadow: {who}{self._made(decision)} scores every row and answers none"

    def canary(self, decision: r.CanaryStarted | r.CanaryAdvanced) -> str:
        self._steps.setdefault(decision.version, []).append(day_of(decision.event_time or 0))
        if self._promoted:
            return ""
        return f"canary: {self._who(decision)} answers {decision.route.share:.0%} of the ids"

    def promoted(self, decision: r.Promoted) -> str:
        before = self._champions[-1] if self._champions else (0, "")
        first = not self._promoted
        self._champions.append((decision.version, decision.lane))
        who = self._who(decision)
        instead = f"becomes the champion instead of version {before[0]}"
        if decision.numbers.get("forced"):
            return f"FORCED: {who} {instead}, {decision.reason}"
        if first:
            return f"promotion: {who} {instead}"
        since = self._steps.get(decision.version, [])
        way = f"{self._made(decision) or ','} a canary since day {since[0]:.1f}," if since else ""
        if decision.lane == _ALARM:
            self._shadows = [each for each in self._shadows if each != who]
            return f"answer to the alarm: {who}{way} {instead}"
        return f"refresh: {who}{way} {instead}{self._others(who)}"

    def _others(self, who: str) -> str:
        """What became of the versions of other lanes, meanwhile."""
        beside = [each for each in self._shadows if each != who]
        refused, self._refused = self._refused, []
        self._shadows = []
        return "".join(
            f"; {what}: {', '.join(each)}"
            for what, each in (("shadows beside it", beside), ("refused by their gate", refused))
            if each
        )

    def rolled_back(self, decision: r.RolledBack) -> str:
        fallen = decision.numbers.get("fallen", -1.0)
        self._champions.append((decision.version, decision.lane))
        shown = decision.numbers.get("better")
        proof = "" if shown is None else f", e-value {e_value(shown)}"
        return (
            f"TAKE-BACK: {self._who(decision)} is the champion again instead of version {fallen:.0f}{proof}"
        )

    def rejected(self, decision: r.Rejected) -> str:
        who = self._who(decision)
        if decision.version in self._steps:
            return f"given up: {who}: {decision.reason}"
        if decision.lane == _ALARM:
            return f"answer to the alarm: {who}{self._made(decision)} is no better, its gate refused it"
        self._refused.append(who)
        return ""

    def lane_changed(self, decision: r.LaneChanged) -> str:
        return f"change of lane: {decision.reason}; {self._who(decision)} becomes the challenger"

    def notice(self, decision: r.Alerted | r.Approved | r.Held | r.Resumed) -> str:
        return f"{type(decision).__name__.lower()}: {decision.reason}"

    @property
    def _promoted(self) -> bool:
        """Whether a version went the whole way already."""
        return bool(self._champions)

    def _who(self, decision: Any) -> str:
        return version(decision.version, decision.lane)

    def _made(self, decision: Any) -> str:
        made = self._models.get(decision.version)
        return "" if made is None else f", made from {made.rows:,} rows,"


@functools.singledispatch
def _line(_event: Any, _teller: Teller) -> str:
    """What is told of an event; empty where it is nothing for the story."""
    return ""


_line.register(r.BaselineRequested, lambda event, teller: teller.baseline(event))
_line.register(r.RetrainRequested, lambda event, teller: teller.retrain(event))
_line.register(r.ShadowStarted, lambda event, teller: teller.shadow(event))
_line.register(r.CanaryStarted, lambda event, teller: teller.canary(event))
_line.register(r.CanaryAdvanced, lambda event, teller: teller.canary(event))
_line.register(r.Promoted, lambda event, teller: teller.promoted(event))
_line.register(r.RolledBack, lambda event, teller: teller.rolled_back(event))
_line.register(r.Rejected, lambda event, teller: teller.rejected(event))
_line.register(r.LaneChanged, lambda event, teller: teller.lane_changed(event))
for _kind in (r.Alerted, r.Approved, r.Held, r.Resumed):
    _line.register(_kind, lambda event, teller: teller.notice(event))
