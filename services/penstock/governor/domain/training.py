"""When a version is to be trained, and the request for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from penstock.contracts import records as r
from penstock.contracts.records import Alarm, Pending, Purpose, RetrainRequested, Source
from penstock.governor.domain.governed import ALARM
from penstock.governor.domain.table import Move

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.governor.domain.desk import Desk
    from penstock.governor.domain.governed import Governed
    from penstock.kernel.policy import Lane

STAGED_ROWS: Final = (0, 500, 1_500, 4_000)
"""After so many more labelled rows than at the alarm it is trained again: with 300 rows a first answer, with
thousands a good one (measured on streams whose concept changes at once)."""


def due_lanes(governed: Governed) -> tuple[str, ...]:
    """The lanes whose next version is due, in the order of the spec."""
    state, policy = governed.state, governed.pipeline.policy
    if state.judged is None or state.sealed is None or state.begun is None:
        return ()
    if state.sealed - state.begun < policy.first_training:
        return ()
    asked = {each.lane: each.asked for each in state.lanes}
    return tuple(
        lane.name
        for lane in governed.pipeline.lanes
        if (last := asked.get(lane.name)) is None or state.judged >= last + lane.every
    )


def affordable(governed: Governed) -> bool:
    """Whether the budget allows evidence to start a training now."""
    state, budget = governed.state, governed.pipeline.policy.retrain
    if state.judged is None:
        return False
    if state.retrains and state.judged < state.retrains[-1] + budget.cool_down:
        return False
    recent = [time for time in state.retrains if time > state.judged - budget.at_most.per]
    return len(recent) < budget.at_most.count


def alarm_due(governed: Governed) -> bool:
    """Whether the alarm's next training is due."""
    state = governed.state
    alarm = state.alarm
    if alarm is None or alarm.stage >= len(STAGED_ROWS):
        return False
    return state.rows >= alarm.rows + STAGED_ROWS[alarm.stage] and affordable(governed)


def ask_for_alarm(desk: Desk, alarm: Alarm) -> None:
    """Train the temporary lane on what came since the alarm's onset."""
    now = desk.governed.state.judged
    if now is None:
        raise TypeError("an alarm has an event time")
    challenger = desk.governed.state.challenger
    budget = desk.governed.pipeline.policy.retrain.at_most
    kept = tuple(time for time in desk.governed.state.retrains if time > now - budget.per)
    desk.governed = desk.governed.but(
        alarm=replace(alarm, stage=alarm.stage + 1),
        retrains=(*kept, now),
        challenger=None,
        canary=None,
        share=0.0,
        salt="",
        queue=(),
    )
    if challenger is not None:
        desk.route(
            r.Rejected, challenger.version, "gives way to what the alarm asks for", causes=(alarm.source,)
        )
    # What the champion's own lane would do now; where that is this one, the first of the spec.
    lanes = desk.governed.pipeline.lanes
    own = desk.governed.lane_of(alarm.version)
    like = next((each for each in lanes if each.name == own), lanes[0])
    lane = replace(like, name=ALARM)
    reason = f"version {alarm.version} fails since its alarm, training {alarm.stage + 1} of what came since"
    _ask(
        desk,
        lane,
        Purpose.ALARM,
        onset=alarm.onset,
        stage=alarm.stage,
        reason=reason,
        causes=(alarm.source,),
    )


def ask_for_lanes(desk: Desk, names: Sequence[str]) -> None:
    """Train the first of these lanes; the others follow it, at the same event time."""
    state, pipeline = desk.governed.state, desk.governed.pipeline
    spec = {lane.name: lane for lane in pipeline.lanes}
    lane = spec[names[0]]
    desk.governed = desk.governed.but(queue=tuple(names[1:]))
    if state.first is None:
        purpose, reason = Purpose.FIRST, "enough labels are sealed for the first training"
    else:
        purpose, reason = Purpose.REFRESH, f"lane {lane.name} is due"
    _ask(desk, lane, purpose, onset=None, stage=0, reason=reason)


def _ask(
    desk: Desk,
    lane: Lane,
    purpose: Purpose,
    *,
    onset: int | None,
    stage: int,
    reason: str,
    causes: tuple[Source, ...] = (),
) -> None:
    governed = desk.governed
    state = governed.state
    champion = None if state.champion is None else governed.known(state.champion)
    trained = champion is not None and champion.purpose is not Purpose.BASELINE
    cut = state.sealed or 0
    since = None if lane.window is None else cut - lane.window
    if since is not None and onset is not None:
        since = min(since, onset)
    request: RetrainRequested = desk.request(
        RetrainRequested,
        lane.name,
        causes=causes,
        lane=lane.name,
        purpose=purpose,
        stage=stage,
        algorithm=lane.algorithm,
        since=since,
        onset=onset,
        cut=cut,
        ranges=state.ranges,
        champion=champion.version if champion is not None and trained else None,
        champion_cut=champion.cut if champion is not None and trained else None,
        seed=state.decided,
        spec=governed.text,
        reason=reason,
    )
    asked = desk.event_time or 0
    pending = Pending(
        decision=request.id, lane=lane.name, purpose=purpose, asked=asked, source=desk.place.source
    )
    desk.governed = desk.governed.but(pending=pending).moved(Move.RETRAIN)
    if (known := desk.governed.lane(lane.name)) is not None:
        desk.governed = desk.governed.with_lane(replace(known, asked=asked))
