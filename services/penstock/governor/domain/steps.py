"""The steps of a challenger on its way to champion, and of a champion on its way back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from penstock.contracts import records as r
from penstock.contracts.records import Challenger, GovernorState, Source, Standing, Watch
from penstock.governor.domain.governed import ALARM
from penstock.governor.domain.table import Move

if TYPE_CHECKING:
    from penstock.governor.domain.desk import Desk
    from penstock.governor.domain.governed import Governed

APPROVERS: Final = {"automatic": 0, "manual": 1, "four_eyes": 2}
"""How many people have to agree before a challenger answers anybody."""


def step(desk: Desk, challenger: Challenger) -> None:
    """Take a challenger further where its time has come."""
    policy, now = desk.governed.pipeline.policy, desk.event_time or 0
    shares, each = policy.canary.shares, policy.canary.each
    if challenger.step < 0:
        if now < challenger.since:
            return
        if len(challenger.approvals) < APPROVERS[policy.approval]:
            _ask_approval(desk, challenger)
            return
    elif now < challenger.since + each:
        return
    place = challenger.step + 1
    if place >= len(shares):
        promote(desk, challenger.version, "it went the whole way", causes=(challenger.cause,))
        return
    first = place == 0
    desk.governed = desk.governed.but(
        challenger=replace(challenger, step=place, since=now),
        canary=challenger.version,
        share=shares[place],
        salt=f"{desk.governed.state.pipeline}/{challenger.version}",
    ).moved(Move.CANARY if first else Move.ADVANCE)
    desk.route(
        r.CanaryStarted if first else r.CanaryAdvanced,
        challenger.version,
        f"answers {shares[place]:.0%} of the ids",
        causes=(challenger.cause,),
        numbers={"share": shares[place]},
    )


def _ask_approval(desk: Desk, challenger: Challenger) -> None:
    if challenger.asked_approval:
        return
    desk.governed = desk.governed.but(challenger=replace(challenger, asked_approval=True))
    people = APPROVERS[desk.governed.pipeline.policy.approval]
    desk.route(
        r.ApprovalRequested,
        challenger.version,
        f"waits for {people} to agree: penstock model promote {desk.governed.state.pipeline} "
        f"{challenger.version}",
        causes=(challenger.cause,),
    )


def promote(
    desk: Desk, version: int, reason: str, *, causes: tuple[Source, ...] = (), forced: bool = False
) -> None:
    """Make a version the champion; the former one is watched on."""
    governed = desk.governed
    state = governed.state
    now = state.judged or 0
    watch = None
    if state.champion is not None:
        # The last blocks that count begin at the end of the watch, and are sealed a horizon later.
        until = now + governed.pipeline.policy.watch + governed.pipeline.labels.horizon
        watch = Watch(former=state.champion, since=now, until=until, forced=forced)
    challenger = state.challenger
    keeps = challenger is not None and challenger.version != version and state.pending is not None
    desk.governed = governed.but(
        champion=version,
        promoted=now,
        canary=None,
        share=0.0,
        salt="",
        watch=watch,
        **_compared_anew(governed, version),
        challenger=challenger if keeps else None,
        # A regular version in service ends what an alarm has begun.
        alarm=state.alarm if governed.lane_of(version) == ALARM else None,
        **_undivided(state, version),
    ).moved(Move.PROMOTE)
    known = governed.known(version)
    if known is not None and version not in (*state.shadows, state.canary, state.split):
        # What nobody scored since is not failing now, whatever was said of it long ago.
        desk.governed = desk.governed.with_known(replace(known, onset=None, alarmed=None))
    desk.route(r.Promoted, version, reason, causes=causes, numbers={"forced": float(forced)})


def roll_back(desk: Desk, reason: str, standing: Standing | None = None) -> None:
    """Restore the former champion; a challenger of the fallen one goes on against it, unless it is that."""
    governed = desk.governed
    state = governed.state
    watch, fallen = state.watch, state.champion
    if watch is None or fallen is None:
        raise TypeError("there is nothing to roll back to")
    desk.governed = governed.but(
        champion=watch.former,
        promoted=state.judged,
        watch=None,
        **_compared_anew(governed, watch.former),
        **_undivided(state, watch.former),
    ).moved(Move.ROLL_BACK)
    if state.challenger is not None and state.challenger.version == watch.former:
        desk.governed = desk.governed.but(challenger=None, canary=None, share=0.0, salt="")
        rest(desk)
    numbers = {} if standing is None else {"mean": standing.mean, "better": standing.better}
    numbers |= {} if standing is None else {"ewma": standing.ewma, "blocks": float(standing.blocks)}
    desk.route(
        r.RolledBack,
        watch.former,
        reason,
        causes=() if standing is None else (standing.source,),
        numbers={**numbers, "fallen": float(fallen)},
    )


def _compared_anew(governed: Governed, version: int) -> dict[str, object]:
    """Whenever the champion's lane changes, the lanes are compared anew, at a stricter level."""
    if governed.lane_of(version) == governed.champion_lane:
        return {}
    return {"tests": governed.state.tests + 1, "lane_standings": ()}


def _undivided(state: GovernorState, champion: int) -> dict[str, object]:
    """A version that becomes champion needs no share of its own any more; any other one keeps its."""
    return {"split": None, "split_share": 0.0, "split_salt": ""} if champion == state.split else {}


def rest(desk: Desk) -> None:
    """No challenger is under test any more."""
    watched = desk.governed.state.watch is not None
    desk.governed = desk.governed.moved(Move.REST_WATCHED if watched else Move.REST)
