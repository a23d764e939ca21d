"""What evidence says, kept until the heartbeat that closes it."""

from __future__ import annotations

from dataclasses import replace

from penstock.contracts import records as r
from penstock.governor.domain.facts import Evidence
from penstock.governor.domain.governed import Governed


def observe(governed: Governed, fact: Evidence, source: r.Source) -> Governed:
    """The state with a piece of evidence in it; nothing is decided yet."""
    match fact:
        case r.PerformanceDegraded():
            return _failing(governed, fact.version, fact.onset, source)
        case r.PerformanceRecovered():
            return _recovered(governed, fact.version)
        case r.LanesCompared():
            before = governed.state.lane_standings
            kept = tuple(each for each in before if each.lane != fact.lane)
            return governed.but(lane_standings=(*kept, _standing(fact, source)))
        case r.VersionsCompared():
            before = governed.state.version_standings
            kept = tuple(
                each for each in before if each.version != fact.version and each.against == fact.against
            )
            return governed.but(version_standings=(*kept, _standing(fact, source)))
        case _:
            return governed


def _failing(governed: Governed, version: int, onset: int, source: r.Source) -> Governed:
    known = governed.known(version)
    return governed if known is None else governed.with_known(replace(known, onset=onset, alarmed=source))


def _recovered(governed: Governed, version: int) -> Governed:
    known = governed.known(version)
    if known is not None:
        governed = governed.with_known(replace(known, onset=None, alarmed=None))
    alarm = governed.state.alarm
    if alarm is not None and alarm.version == version:
        return governed.but(alarm=None)
    return governed


def _standing(fact: r.LanesCompared | r.VersionsCompared, source: r.Source) -> r.Standing:
    return r.Standing(
        version=fact.version,
        lane=fact.lane,
        against=fact.against,
        since=fact.since,
        ewma=fact.ewma,
        mean=fact.mean,
        blocks=fact.blocks,
        better=fact.better,
        worse=fact.worse,
        source=source,
    )
