"""An operator's split stands beside the loop: it changes nothing of what is decided, and nothing ends it."""

from __future__ import annotations

from math import log

import pytest

from penstock.contracts import records as r
from penstock.contracts.records import Purpose, Stage
from penstock.governor.domain import replay
from tests.governor.governing import Loop

SURE = log(1 / 0.05) + 0.1


def _trained(until: float = 40.0) -> Loop:
    """On day 40 version 1 is champion, 0 a yardstick, 2 the linear lane's shadow."""
    loop = Loop()
    loop.run(until)
    return loop


def _split(loop: Loop, version: int | None, share: float = 0.3) -> r.TrafficSplit:
    [decision] = loop.command(
        r.SplitTraffic, version=version, share=0.0 if version is None else share, reason="the field test"
    )
    assert isinstance(decision, r.TrafficSplit), decision
    return decision


def _alarmed(loop: Loop) -> None:
    loop.degrade(1, onset=loop.day - 2)
    loop.run(loop.day + 0.25)


def test_a_split_is_a_route_and_its_end_is_the_route_before() -> None:
    loop = _trained()
    before = loop.state
    assert (before.champion, before.shadows) == (1, (0, 2))
    begun = _split(loop, 2)
    assert (begun.version, begun.lane, begun.numbers) == (2, "linear", {"share": 0.3})
    assert begun.reason == "asked for by ann: the field test"
    route = begun.route
    assert (route.epoch, route.champion, route.canary, route.shadows) == (before.epoch + 1, 1, None, (0,))
    assert (route.split, route.split_share, route.split_salt) == (2, 0.3, "split/2/churn")
    assert (loop.stage, loop.state.challenger) == (before.stage, before.challenger)
    ended = _split(loop, None)
    assert ended.reason == "version 2 had 30%; asked for by ann: the field test"
    assert (ended.version, ended.lane) == (None, "")
    assert (ended.route.split, ended.route.split_share, ended.route.shadows) == (None, 0.0, (0, 2))


def test_another_share_keeps_the_ids_and_another_version_takes_the_place() -> None:
    loop = _trained()
    first, grown, other = _split(loop, 2, 0.1), _split(loop, 2, 0.2), _split(loop, 0, 0.2)
    assert first.route.split_salt == grown.route.split_salt != other.route.split_salt
    assert (other.route.split, other.route.shadows) == (0, (2,))


def test_what_the_loop_decides_is_the_same_with_and_without_a_split() -> None:
    plain, split = _trained(), _trained()
    since = len(plain.decisions)
    _split(split, 2)
    for loop in (plain, split):
        loop.run(60)
        _alarmed(loop)
        loop.run(70)
    made = [(each.event_time, what) for each, what in zip(plain.decisions, plain.said(), strict=True)]
    same = [(each.event_time, what) for each, what in zip(split.decisions, split.said(), strict=True)]
    assert same[since] == (split.decisions[since].event_time, "TrafficSplit 2")
    assert [*same[:since], *same[since + 1 :]] == made
    assert {"RetrainRequested", "CanaryStarted 3", "Promoted 3"} <= {what for _, what in made[since:]}
    assert split.state.split == 2


def test_a_split_version_is_scored_on_when_its_lane_and_its_watch_have_let_it_go() -> None:
    loop = _trained(56)  # version 3 took over on day 49; 4 is the linear lane's newest, 1 the first one
    assert 2 not in loop.state.shadows
    loop.command(r.PromoteVersion, version=4, force=True)
    _split(loop, 3)
    since = len(loop.decisions)
    loop.run(90)
    assert "Archived 3" not in loop.said(since=since)
    known = {each.version for each in loop.state.versions}
    assert loop.state.split == 3
    assert 3 in known
    _split(loop, None)
    assert 3 not in loop.state.shadows


def test_a_challenger_may_have_both_shares_and_its_promotion_ends_the_split() -> None:
    loop = _trained(43.25)
    loop.run(45.75)
    canary = loop.state.canary
    assert canary == 3
    _split(loop, canary, 0.2)
    loop.run(50)
    assert loop.state.champion == canary
    promoted = next(each for each in reversed(loop.decisions) if isinstance(each, r.Promoted))
    assert (promoted.route.split, promoted.route.split_share) == (None, 0.0)
    assert loop.state.split is None


def test_what_is_forced_or_restored_needs_no_share_of_its_own() -> None:
    loop = _trained()
    _split(loop, 2)
    loop.command(r.PromoteVersion, version=2, force=True)
    assert (loop.state.champion, loop.state.split) == (2, None)
    _split(loop, 1)
    loop.command(r.RollBack)
    assert (loop.state.champion, loop.state.split) == (1, None)


def test_a_rollback_and_a_promotion_of_others_leave_it_alone() -> None:
    loop = _trained()
    _split(loop, 0)
    loop.command(r.PromoteVersion, version=2, force=True)
    assert (loop.state.champion, loop.state.split, loop.state.shadows) == (2, 0, (1,))
    loop.command(r.RollBack)
    assert (loop.state.champion, loop.state.split) == (1, 0)


def test_harm_gives_up_the_challenger_and_leaves_the_order_of_an_operator() -> None:
    loop = _trained(45.75)
    assert loop.state.canary == 3
    _split(loop, 3, 0.2)
    loop.compare(3, worse=SURE)
    [rejected] = loop.beat(loop.day + 0.25)
    assert isinstance(rejected, r.Rejected)
    assert (rejected.route.canary, rejected.route.split) == (None, 3)
    assert loop.state.challenger is None


def test_a_split_version_stands_for_a_baseline_that_serves_again() -> None:
    loop = _trained(36)
    loop.compare(0, better=SURE)
    loop.run(36.25)
    assert (loop.state.champion, loop.state.shadows) == (0, (1, 2))
    _split(loop, 2)
    loop.degrade(2, onset=36)
    loop.run(40)
    asked = [each for each in loop.decisions if isinstance(each, r.RetrainRequested)]
    assert Purpose.ALARM in {each.purpose for each in asked}


def test_held_obeys() -> None:
    loop = _trained()
    loop.command(r.HoldPipeline)
    assert _split(loop, 2).route.split == 2
    assert loop.stage is Stage.HELD
    _split(loop, None)
    loop.command(r.ResumePipeline)
    assert loop.state.stage is Stage.WATCHING


@pytest.mark.parametrize(
    ("version", "share", "why"),
    [
        (None, 0.0, "nothing to end"),
        (9, 0.3, "there is no version 9"),
        (1, 0.3, "version 1 is the champion"),
        (2, 0.0, "a share of 0 is none"),
        (2, 1.0, "a share of 1 is none"),
        (2, float("nan"), "a share of nan is none"),
    ],
)
def test_what_cannot_be_is_answered(version: int | None, share: float, why: str) -> None:
    loop = _trained()
    before = loop.state
    [said] = loop.command(r.SplitTraffic, version=version, share=share)
    assert isinstance(said, r.Alerted)
    assert why in said.reason
    assert (loop.state.split, loop.state.epoch) == (None, before.epoch)


def test_what_is_archived_or_has_that_share_is_refused() -> None:
    loop = _trained(56)
    [said] = loop.command(r.SplitTraffic, version=2, share=0.3)
    assert isinstance(said, r.Alerted)
    assert said.reason == "version 2 is archived: only what scores every row can be given a share of them"
    _split(loop, 4)
    [again] = loop.command(r.SplitTraffic, version=4, share=0.3)
    assert isinstance(again, r.Alerted)
    assert again.reason == "version 4 has that share already"


def test_a_replay_splits_alike() -> None:
    loop = _trained()
    _split(loop, 2)
    loop.run(60)
    _split(loop, None)
    loop.run(70)
    assert replay(loop.journal) == loop.decisions
