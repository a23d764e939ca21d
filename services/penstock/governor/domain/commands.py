"""What operators ask for. Each command is answered by a decision; `Alerted` says that nothing can be done."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from penstock.contracts import records as r
from penstock.contracts.records import Challenger, Stage
from penstock.governor.domain.steps import promote, roll_back
from penstock.governor.domain.table import Move

if TYPE_CHECKING:
    from penstock.governor.domain.desk import Desk
    from penstock.governor.domain.facts import Command


def obey(desk: Desk, fact: Command) -> None:
    """Do what a command asks, at the event time judged so far."""
    match fact:
        case r.PromoteVersion():
            _promote(desk, fact)
        case r.RollBack():
            if desk.governed.state.watch is None:
                desk.notice(
                    r.Alerted,
                    "no former champion is watched: name a version with penstock model promote --force",
                )
            else:
                roll_back(desk, _said("asked for", fact))
        case r.HoldPipeline():
            _hold(desk, fact)
        case r.ResumePipeline():
            _resume(desk, fact)
        case r.SplitTraffic():
            _split(desk, fact)


def _promote(desk: Desk, fact: r.PromoteVersion) -> None:
    governed = desk.governed
    state = governed.state
    if governed.known(fact.version) is None:
        desk.notice(r.Alerted, f"there is no version {fact.version} that could be promoted")
    elif fact.version == state.champion:
        desk.notice(r.Alerted, f"version {fact.version} is the champion already")
    elif fact.force:
        promote(desk, fact.version, _said("forced", fact), forced=True)
    elif (challenger := state.challenger) is not None and challenger.version == fact.version:
        approvals = tuple(dict.fromkeys((*challenger.approvals, fact.operator)))
        desk.governed = governed.but(challenger=replace(challenger, approvals=approvals))
        why = f": {fact.reason}" if fact.reason else ""
        desk.notice(r.Approved, f"approved of by {', '.join(approvals)}{why}", version=fact.version)
    elif governed.at_rest:
        desk.governed = governed.but(
            challenger=Challenger(
                version=fact.version,
                lane=governed.lane_of(fact.version),
                since=state.judged or 0,
                step=-1,
                approvals=(fact.operator,),
                asked_approval=True,
                cause=desk.place.source,
            )
        ).moved(Move.TEST)
        desk.route(r.ShadowStarted, fact.version, _said("asked for", fact))
    else:
        desk.notice(r.Alerted, f"version {fact.version} has to wait: another challenger is under test")


def _hold(desk: Desk, fact: r.HoldPipeline) -> None:
    state = desk.governed.state
    if state.stage in (Stage.BOOTSTRAPPING, Stage.HELD):
        desk.notice(r.Alerted, f"the pipeline is {state.stage.value.lower()}: there is nothing to hold")
        return
    desk.governed = desk.governed.but(stage=Stage.HELD, resumes=state.stage)
    desk.notice(r.Held, _said("held", fact))


def _resume(desk: Desk, fact: r.ResumePipeline) -> None:
    state = desk.governed.state
    if state.stage is not Stage.HELD or state.resumes is None:
        desk.notice(r.Alerted, "the pipeline is not held")
        return
    desk.governed = desk.governed.but(stage=state.resumes, resumes=None)
    desk.notice(r.Resumed, _said("resumed", fact))


def _split(desk: Desk, fact: r.SplitTraffic) -> None:
    """Give a version a share of the ids, or take it back; the stage of the challenger is another matter.

    It is an operator's order, as a forced promotion is: neither the calendar nor an alarm nor a loss that is
    worse ends it, since a part of the traffic that is kept on something worse is what a comparison in the
    field may be for. It ends by command, or when its version becomes the champion.
    """
    state = desk.governed.state
    if why := _indivisible(desk, fact):
        desk.notice(r.Alerted, why)
    elif fact.version is None:
        desk.governed = desk.governed.but(split=None, split_share=0.0, split_salt="")
        had = f"version {state.split} had {state.split_share * 100:g}%"
        desk.route(r.TrafficSplit, None, _said(f"{had}; asked for", fact))
    else:
        desk.governed = desk.governed.but(
            split=fact.version,
            split_share=fact.share,
            # Not of the share: when it changes, an id that stays in it stays with who answered it. What tells
            # it from a canary's comes first, since a salt counts as far as its 64th byte.
            split_salt=f"split/{fact.version}/{state.pipeline}",
        )
        desk.route(r.TrafficSplit, fact.version, _said("asked for", fact), numbers={"share": fact.share})


def _indivisible(desk: Desk, fact: r.SplitTraffic) -> str:
    """Why a split cannot be, or end; empty where it can."""
    state = desk.governed.state
    version = fact.version
    if version is None:
        return "" if state.split is not None else "no version has a share of its own: there is nothing to end"
    scored = version in (state.canary, state.split, *state.shadows)
    objections = (
        (
            not 0 < fact.share < 1,
            f"a share of {fact.share:g} is none: it has to be more than 0 and less than 1",
        ),
        (desk.governed.known(version) is None, f"there is no version {version} that could answer"),
        (
            version == state.champion,
            f"version {version} is the champion: it answers all ids that nobody else does",
        ),
        (
            not scored,
            f"version {version} is archived: only what scores every row can be given a share of them",
        ),
        (
            (version, fact.share) == (state.split, state.split_share),
            f"version {version} has that share already",
        ),
    )
    return next((why for true, why in objections if true), "")


def _said(what: str, fact: Command) -> str:
    why = f": {fact.reason}" if fact.reason else ""
    return f"{what} by {fact.operator or 'an operator'}{why}"
