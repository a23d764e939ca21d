"""What time brings: a heartbeat says that one more block is judged, and what is due is done.

In this order: the former champion is restored where the new one does harm, and let go where its watch is
over; a challenger takes its next step; an alarm is answered; a lane that has proven better is tested; what is
due is trained.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

from penstock.contracts import records as r
from penstock.contracts.records import Challenger, Standing
from penstock.governor.domain import training
from penstock.governor.domain.routes import shadows
from penstock.governor.domain.steps import rest, roll_back, step
from penstock.governor.domain.table import Move
from penstock.kernel.eprocess import level_of

if TYPE_CHECKING:
    from penstock.governor.domain.desk import Desk
    from penstock.governor.domain.governed import Governed


def tick(desk: Desk) -> None:
    """Do what is due at `state.judged`."""
    _watch(desk)
    _challenger(desk)
    _alarm(desk)
    if desk.governed.at_rest:
        _lanes(desk)
    if desk.governed.at_rest and (due := training.due_lanes(desk.governed)):
        training.ask_for_lanes(desk, due)


def _watch(desk: Desk) -> None:
    state = desk.governed.state
    watch = state.watch
    if watch is None or state.judged is None:
        return
    standing = against(desk.governed, watch.former)
    if standing is not None and standing.better >= -log(desk.governed.pipeline.policy.compare.level):
        roll_back(
            desk,
            f"version {watch.former} was better by more than the margin on {standing.blocks} blocks",
            standing,
        )
    elif state.judged >= watch.until:
        former = watch.former
        desk.governed = desk.governed.but(watch=None)
        if desk.governed.stage is r.Stage.WATCHING:
            desk.governed = desk.governed.moved(Move.REST)
        after = desk.governed.state
        if former not in (after.canary, after.split, *shadows(desk.governed)):
            desk.route(r.Archived, former, "the watch is over: its successor did no harm")


def _challenger(desk: Desk) -> None:
    state = desk.governed.state
    challenger = state.challenger
    if challenger is None or state.judged is None or state.pending is not None:
        return
    standing = against(desk.governed, challenger.version)
    level = desk.governed.pipeline.policy.compare.level
    if standing is not None and standing.worse >= -log(level):
        desk.governed = desk.governed.but(challenger=None, canary=None, share=0.0, salt="")
        rest(desk)
        desk.route(
            r.Rejected,
            challenger.version,
            f"worse than the champion by more than the margin on {standing.blocks} blocks",
            causes=(standing.source,),
            numbers=numbers(standing),
        )
        return
    step(desk, challenger)


def _alarm(desk: Desk) -> None:
    """Begin to answer an alarm of the champion, and train where it is due."""
    governed = desk.governed
    state = governed.state
    failing = _failing(governed)
    if failing is None or state.judged is None:
        return
    answered = state.alarm is not None and state.alarm.version == failing.version
    if not answered and failing.onset is not None and failing.alarmed is not None:
        alarm = r.Alarm(
            version=failing.version,
            time=state.judged,
            onset=failing.onset,
            rows=state.rows,
            stage=0,
            source=failing.alarmed,
        )
        desk.governed = governed.but(alarm=alarm)
    alarm_now = desk.governed.state.alarm
    if alarm_now is not None and _free(desk.governed) and training.alarm_due(desk.governed):
        training.ask_for_alarm(desk, alarm_now)


def _failing(governed: Governed) -> r.Known | None:
    """The version whose alarms are answered: the champion.

    Version 0 was accepted with nothing and cannot fail. Where it serves, since what was trained did harm, the
    newest trained version stands for what has to be done better.
    """
    state = governed.state
    champion = None if state.champion is None else governed.known(state.champion)
    if champion is None or champion.purpose is not r.Purpose.BASELINE:
        return champion
    routed = [each for each in state.versions if each.version in (*state.shadows, state.split)]
    return max(routed, key=lambda each: each.version, default=champion)


def _free(governed: Governed) -> bool:
    """Whether a training may begin that an alarm asks for.

    One at a time, and each has a horizon to come into service. A challenger that was asked for since the
    alarm has learned from what came since, and is tested to its end; an older one gives way. What somebody
    forced is overturned by harm alone.
    """
    state = governed.state
    challenger, alarm = state.challenger, state.alarm
    known = None if challenger is None else governed.known(challenger.version)
    if known is not None and alarm is not None and (known.asked or 0) >= alarm.time:
        return False
    if state.watch is not None and state.watch.forced:
        return False
    asked = max((each.asked for each in state.versions if each.asked is not None), default=None)
    horizon = governed.pipeline.labels.horizon
    return state.pending is None and (asked is None or (state.judged or 0) >= asked + horizon)


def _lanes(desk: Desk) -> None:
    """Test the lane that leads, where it has shown that it is better."""
    governed = desk.governed
    state, compare = governed.state, governed.pipeline.policy.compare
    if state.judged is None:
        return
    others = max(1, sum(lane.name != governed.champion_lane for lane in governed.pipeline.lanes))
    needed = -log(level_of(max(1, state.tests), lanes=others, level=compare.level))
    proven = [
        each
        for each in state.lane_standings
        if each.ewma <= -compare.margin
        and each.better >= needed
        and governed.lane_of(each.against) == governed.champion_lane != each.lane
        and (lane := governed.lane(each.lane)) is not None
        and lane.version is not None
        # A lane is as good as what it would put forward now.
        and ((newest := against(governed, lane.version)) is None or newest.worse < -log(compare.level))
    ]
    if not proven:
        return
    best = min(proven, key=lambda each: (each.ewma, each.lane))
    lane = governed.lane(best.lane)
    if lane is None or lane.version is None:
        return
    challenger = Challenger(
        version=lane.version,
        lane=best.lane,
        since=state.judged,
        step=-1,
        approvals=(),
        asked_approval=False,
        cause=best.source,
    )
    desk.governed = governed.but(challenger=challenger).moved(Move.TEST)
    desk.route(
        r.LaneChanged,
        lane.version,
        f"lane {best.lane} makes better versions than {governed.champion_lane}, on {best.blocks} blocks",
        causes=(best.source,),
        numbers={**numbers(best), "needed": needed},
    )


def against(governed: Governed, version: int) -> Standing | None:
    """How a version stands against the champion of now."""
    champion = governed.state.champion
    return next(
        (
            each
            for each in governed.state.version_standings
            if each.version == version and each.against == champion
        ),
        None,
    )


def numbers(standing: Standing) -> dict[str, float]:
    """What was compared, for the record of a decision."""
    return {
        "ewma": standing.ewma,
        "mean": standing.mean,
        "blocks": float(standing.blocks),
        "better": standing.better,
        "worse": standing.worse,
    }
