"""`decide`: what a fact changes, and what is to be done about it.

While a training is under way, time stands still: what the monitor says meanwhile is kept, and taken in when
the version is there, or the failure. How long a training takes is no fact about the stream, so no decision
may follow from it. That has an end: a training that takes longer than a day of the stream's own time, or than
its labels take, holds nobody up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace as changed
from typing import Final

from penstock.contracts import records as r
from penstock.governor.domain import commands, registered
from penstock.governor.domain.desk import Desk
from penstock.governor.domain.facts import Command, Decision, Deferred, Evidence, Fact, Place
from penstock.governor.domain.governed import Governed, applied, begun
from penstock.governor.domain.observed import observe
from penstock.governor.domain.tick import tick
from penstock.kernel.errors import Invalid
from penstock.kernel.spec import read_spec

PATIENCE: Final = 86_400_000
"""Milliseconds of event time for which evidence waits for the end of a training."""
MOST: Final = 1_000
"""Pieces of evidence that wait: they are in the record of the state, which has to stay one."""
LOST: Final = 10
"""So many times the patience, a training that has not ended is taken for lost."""
_TELLING: Final = (r.QualityMeasured, r.DriftWarned, r.DriftCleared, r.HoleFound)


def decide(governed: Governed | None, fact: Fact, place: Place) -> tuple[Governed, list[Decision]]:
    """What a fact changes, and what is to be done about it.

    Args:
        governed: the fact's pipeline; None before its first fact.
        fact: what happened.
        place: where it is written.

    Raises:
        Invalid: the fact cannot be: evidence of a pipeline that was never applied, a spec that is none.
    """
    if isinstance(fact, r.PipelineApplied):
        return _applied(governed, fact, place)
    if governed is None:
        raise Invalid(
            f"a {type(fact).__name__} of {fact.pipeline!r}, which was never applied",
            reason="unknown_pipeline",
        )
    governed = _counted(governed)
    if isinstance(fact, Evidence):
        return _caught_up(_told(governed, fact, place), [])
    desk = Desk(governed, place, governed.state.judged)
    if isinstance(fact, Command):
        commands.obey(desk, fact)
    elif isinstance(fact, r.VersionRegistered):
        registered.take_in(desk, fact)
    elif isinstance(fact, r.JobFailed):
        registered.failed(desk, fact)
    return _caught_up(desk.governed, desk.decisions)


def _applied(
    governed: Governed | None, fact: r.PipelineApplied, place: Place
) -> tuple[Governed, list[Decision]]:
    pipeline = read_spec(fact.pipeline, fact.spec)
    if governed is not None:
        return applied(_counted(governed), pipeline, fact.spec), []
    desk = Desk(_counted(begun(pipeline, fact.spec)), place, None)
    desk.request(r.BaselineRequested, spec=fact.spec)
    return desk.governed, desk.decisions


def _told(governed: Governed, fact: Evidence, place: Place) -> Governed:
    """With what the monitor says; what it said before is not said again."""
    if fact.ordinal <= governed.state.ordinal:
        return governed
    governed = governed.but(ordinal=fact.ordinal)
    if isinstance(fact, _TELLING):
        return governed  # it is for people: nothing is decided by it
    return changed(governed, deferred=(*governed.deferred, Deferred(fact=fact, place=place)))


def _caught_up(governed: Governed, decisions: list[Decision]) -> tuple[Governed, list[Decision]]:
    """Take in the evidence that is there, as far as it need not wait for a training."""
    while governed.deferred and not _waits(governed):
        first, *others = governed.deferred
        desk = Desk(changed(governed, deferred=tuple(others)), first.place, governed.state.judged)
        _take(desk, first.fact)
        governed = desk.governed
        decisions = [*decisions, *desk.decisions]
    return governed, decisions


def _waits(governed: Governed) -> bool:
    pending = governed.state.pending
    patience = min(PATIENCE, governed.pipeline.labels.horizon)
    return (
        pending is not None
        and len(governed.deferred) <= MOST
        and governed.deferred[-1].fact.time <= pending.asked + patience
    )


def _take(desk: Desk, fact: Evidence) -> None:
    if not isinstance(fact, r.Heartbeat):
        desk.governed = observe(desk.governed, fact, desk.place.source)
        return
    desk.event_time = fact.time
    desk.governed = desk.governed.but(
        judged=fact.time, begun=fact.begun, sealed=fact.sealed, rows=fact.rows, ranges=fact.ranges
    )
    pending = desk.governed.state.pending
    patience = min(PATIENCE, desk.governed.pipeline.labels.horizon)
    if pending is not None and fact.time > pending.asked + LOST * patience:
        registered.lost(desk, pending)
    if desk.governed.state.stage not in (r.Stage.BOOTSTRAPPING, r.Stage.HELD):
        tick(desk)


def _counted(governed: Governed) -> Governed:
    return governed.but(taken=governed.state.taken + 1)


def replay(journal: Iterable[tuple[r.FactTaken, Fact]]) -> list[Decision]:
    """The decisions that a journal of facts leads to: the same ones as when they were made."""
    pipelines: dict[str, Governed] = {}
    decisions: list[Decision] = []
    for taken, fact in journal:
        place = Place(
            cluster=taken.cluster, topic_id=taken.topic_id, source=taken.source, timestamp=taken.timestamp
        )
        pipelines[taken.pipeline], made = decide(pipelines.get(taken.pipeline), fact, place)
        decisions += made
    return decisions
