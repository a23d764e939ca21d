"""A training came to its end: its version is taken in, tested, or given up.

All of this happens at the event time at which the training was asked for: how long it took is no fact about
the stream.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from penstock.contracts import records as r
from penstock.contracts.records import Challenger, Known, Pending, Purpose, Verdict, VersionStage
from penstock.governor.domain import training
from penstock.governor.domain.governed import ALARM
from penstock.governor.domain.steps import rest, step
from penstock.governor.domain.table import Move

if TYPE_CHECKING:
    from penstock.governor.domain.desk import Desk

SHADOWED: Final = 4
"""A challenger is a shadow for this part of a canary's step, and no longer than a horizon."""


def take_in(desk: Desk, fact: r.VersionRegistered) -> None:
    """A version got its number."""
    known = Known(
        version=fact.version,
        lane=fact.lane,
        purpose=fact.purpose,
        asked=fact.asked,
        cut=fact.cut,
        verdict=fact.verdict,
        onset=None,
        alarmed=None,
    )
    state = desk.governed.state
    if state.stage is r.Stage.BOOTSTRAPPING:
        if fact.stage is VersionStage.CHAMPION:
            desk.governed = (
                desk.governed.with_known(known).but(champion=fact.version, epoch=1).moved(Move.BASELINE)
            )
        elif fact.stage is VersionStage.REFUSED:
            desk.notice(r.Alerted, f"nothing can answer yet: version {fact.version}: {fact.reason}")
        return
    pending = state.pending
    if pending is None or pending.decision != fact.decision:
        if fact.stage is not VersionStage.REFUSED:
            desk.governed = desk.governed.with_known(known)
        return
    desk.event_time = pending.asked
    if fact.stage is VersionStage.REFUSED:
        desk.notice(r.Alerted, f"version {fact.version} of lane {fact.lane} cannot be served: {fact.reason}")
        _go_on(desk)
        return
    desk.governed = desk.governed.with_known(known)
    if fact.verdict is Verdict.REFUSED:
        desk.route(
            r.Rejected,
            fact.version,
            "the gate refused it: worse than what is there on rows that neither saw",
            numbers=fact.metrics,
        )
    else:
        _shadow(desk, fact, pending)
    _go_on(desk)


def failed(desk: Desk, fact: r.JobFailed) -> None:
    """A training came to nothing."""
    pending = desk.governed.state.pending
    if pending is None or pending.decision != fact.decision:
        return
    desk.event_time = pending.asked
    desk.notice(r.Alerted, f"training of lane {pending.lane} came to nothing: {fact.reason}")
    _go_on(desk)


def lost(desk: Desk, pending: Pending) -> None:
    """Nothing was heard of a training for so long that it will not come any more."""
    desk.notice(r.Alerted, f"nothing was heard of the training of lane {pending.lane}: it is taken for lost")
    desk.governed = desk.governed.but(queue=())
    _go_on(desk)


def _shadow(desk: Desk, fact: r.VersionRegistered, pending: Pending) -> None:
    governed = desk.governed
    state = governed.state
    if (lane := governed.lane(fact.lane)) is not None:
        governed = governed.with_lane(replace(lane, version=fact.version))
    if state.first is None and fact.purpose is not Purpose.BASELINE:
        governed = governed.but(first=fact.version)
    champion = None if state.champion is None else governed.known(state.champion)
    promotable = (
        champion is None
        or champion.purpose is Purpose.BASELINE
        or fact.purpose is Purpose.ALARM
        or champion.lane in (fact.lane, ALARM)
    )
    # What somebody forced is overturned by harm that is shown, not by the next date in the calendar.
    forced = state.watch is not None and state.watch.forced and fact.purpose is Purpose.REFRESH
    tested = promotable and not forced and state.challenger is None
    if tested:
        # A refresh scores live rows for a while before it answers any: long enough to see that it can. No
        # label is waited for, since the gate has judged it on sealed ones. After an alarm every hour counts.
        pipeline = governed.pipeline
        shadowed = min(pipeline.policy.canary.each // SHADOWED, pipeline.labels.horizon)
        if fact.purpose is Purpose.ALARM:
            shadowed = 0
        governed = governed.but(
            challenger=Challenger(
                version=fact.version,
                lane=fact.lane,
                since=pending.asked + shadowed,
                step=-1,
                approvals=(),
                asked_approval=False,
                cause=desk.place.source,
            )
        )
    desk.governed = governed
    what = "the challenger" if tested else f"of lane {fact.lane}"
    desk.route(
        r.ShadowStarted,
        fact.version,
        f"{what}: it scores every row and answers none",
        causes=(pending.source,),
        numbers=fact.metrics,
    )


def _go_on(desk: Desk) -> None:
    """Train the next lane in the queue, or see what there is to test; held, only take the version in."""
    governed = desk.governed
    held = governed.state.stage is r.Stage.HELD
    # A lane that was not asked for stays due; one that another spec has ended meanwhile is trained no more.
    queue = () if held else tuple(name for name in governed.state.queue if governed.lane(name) is not None)
    desk.governed = governed.but(pending=None, queue=queue)
    if queue:
        training.ask_for_lanes(desk, queue)
    elif (challenger := desk.governed.state.challenger) is not None:
        desk.governed = desk.governed.moved(Move.TEST)
        if not held:
            step(desk, challenger)
    else:
        rest(desk)
