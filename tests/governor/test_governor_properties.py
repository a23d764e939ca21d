"""Whatever happens in whatever order, the stages follow the table, and what is decided holds together."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contracts import records as r
from penstock.contracts.records import Stage, Verdict, VersionStage
from penstock.governor.domain import TRANSITIONS, Decision, replay
from penstock.kernel.chain import digest_of
from tests.governor.governing import Loop

if TYPE_CHECKING:
    from collections.abc import Callable

LANES = ("everything", "linear")

events = st.one_of(
    st.tuples(st.just("beat"), st.sampled_from([0.25, 1.0, 4.0, 15.0])),
    st.tuples(st.just("beat"), st.sampled_from([0.25, 1.0, 4.0, 15.0])),
    st.tuples(st.just("register"), st.sampled_from([Verdict.PASSED, Verdict.REFUSED, Verdict.UNDECIDED])),
    st.tuples(st.just("register"), st.just(Verdict.PASSED)),
    st.tuples(st.just("broken"), st.none()),
    st.tuples(st.just("fail"), st.none()),
    st.tuples(st.just("degrade"), st.integers(0, 8)),
    st.tuples(st.just("recover"), st.integers(0, 8)),
    st.tuples(st.just("better"), st.integers(0, 8)),
    st.tuples(st.just("worse"), st.integers(0, 8)),
    st.tuples(st.just("lane"), st.sampled_from(LANES)),
    st.tuples(st.just("promote"), st.integers(0, 8)),
    st.tuples(st.just("approve"), st.integers(0, 8)),
    st.tuples(st.just("back"), st.none()),
    st.tuples(st.just("split"), st.one_of(st.none(), st.integers(0, 8))),
    st.tuples(st.just("hold"), st.none()),
    st.tuples(st.just("resume"), st.none()),
)


def _fail(loop: Loop) -> None:
    pending = loop.state.pending
    decision = pending.decision if pending else "of another life"
    loop.take(r.JobFailed(id="f", pipeline="churn", decision=decision, reason="", causes=()))


def _lane(loop: Loop, name: str) -> None:
    version = next(lane.version for lane in loop.state.lanes if lane.lane == name)
    if version is not None:
        loop.compare(version, lane=name, ewma=-0.02, better=20.0)


def happen(loop: Loop, kind: str, what: Any) -> None:
    """One thing happens to a pipeline."""
    doings: dict[str, Callable[[], object]] = {
        "beat": lambda: loop.beat(loop.day + what),
        "register": lambda: loop.register(verdict=what) if loop.state.pending else None,
        "broken": lambda: loop.register(stage=VersionStage.REFUSED) if loop.state.pending else None,
        "fail": lambda: _fail(loop),
        "degrade": lambda: loop.degrade(what, onset=loop.day - 1),
        "recover": lambda: loop.recover(what),
        "better": lambda: loop.compare(what, better=10.0),
        "worse": lambda: loop.compare(what, worse=10.0),
        "lane": lambda: _lane(loop, what),
        "promote": lambda: loop.command(r.PromoteVersion, version=what, force=True),
        "approve": lambda: loop.command(r.PromoteVersion, version=what, force=False),
        "back": lambda: loop.command(r.RollBack),
        "split": lambda: loop.command(r.SplitTraffic, version=what, share=0.25),
        "hold": lambda: loop.command(r.HoldPipeline),
        "resume": lambda: loop.command(r.ResumePipeline),
    }
    doings[kind]()


def reachable(stage: Stage | None) -> set[Stage | None]:
    """Where the table leads from a stage, in any number of moves."""
    found: set[Stage | None] = {stage}
    while more := {after for each in found for after in TRANSITIONS[each].values()} - found:
        found |= more
    return found


def beneath(state: r.GovernorState) -> Stage | None:
    return state.resumes if state.stage is Stage.HELD else state.stage


def check(loop: Loop, before: r.GovernorState, decided: list[Decision]) -> None:
    """What holds after every fact."""
    state = loop.state
    stage = beneath(state)
    assert stage in reachable(beneath(before))
    # At most one training is under way, and the stage says so.
    assert (stage is Stage.RETRAINING) == (state.pending is not None)
    assert (stage in (Stage.SHADOWING, Stage.CANARYING)) <= (state.challenger is not None)
    assert (stage is Stage.CANARYING) == (state.canary is not None)
    assert (stage is Stage.WATCHING) <= (state.watch is not None)
    known = {each.version for each in state.versions}
    assert state.champion in known
    assert {state.champion, state.canary, state.split}.isdisjoint(state.shadows)
    assert state.split != state.champion
    assert (state.split is None) == (state.split_share == 0.0) == (not state.split_salt)
    assert state.split in {None, *known}
    if state.split != before.split:
        # By command, or by its own promotion; no other decision touches it.
        assert {type(each) for each in decided} & {r.TrafficSplit, r.Promoted, r.RolledBack}
    assert set(state.shadows) <= known
    assert state.epoch >= before.epoch
    routes = [each.route for each in decided if hasattr(each, "route")]
    assert [route.epoch for route in routes] == sorted(route.epoch for route in routes)
    if routes:
        last = routes[-1]
        assert (last.champion, last.canary, last.shadows) == (state.champion, state.canary, state.shadows)
        assert (last.split, last.split_share) == (state.split, state.split_share)


@settings(max_examples=150, deadline=None)
@given(st.lists(events, min_size=10, max_size=60), st.sampled_from(["automatic", "four_eyes"]))
def test_the_stages_follow_the_table(happenings: list[tuple[str, Any]], approval: str) -> None:
    loop = Loop(approval=approval)
    loop.beat(29.5)
    for kind, what in happenings:
        before, decided = loop.state, len(loop.decisions)
        happen(loop, kind, what)
        check(loop, before, loop.decisions[decided:])
    assert replay(loop.journal) == loop.decisions
    assert all(after.previous == digest_of(one) for one, after in pairwise(loop.decisions))
