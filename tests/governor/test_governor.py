"""The governor decides as the policy says, and a replay decides the same."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest

from penstock.contracts import records as r
from penstock.contracts.records import Purpose, Stage, Verdict, VersionStage
from penstock.governor.domain import replay
from penstock.kernel.chain import digest_of
from tests.governor.governing import DAY, Loop

SURE = log(1 / 0.05) + 0.1


def _trained(until: float = 36.0) -> Loop:
    """Version 1 is champion; version 2 is the linear lane's shadow."""
    loop = Loop()
    loop.run(until)
    return loop


def test_the_first_training_goes_the_whole_way() -> None:
    loop = _trained()
    assert loop.said() == [
        "BaselineRequested",
        "RetrainRequested",
        "ShadowStarted 1",
        "RetrainRequested",
        "ShadowStarted 2",
        "CanaryStarted 1",
        "CanaryAdvanced 1",
        "Promoted 1",
    ]
    days = [each.event_time / DAY for each in loop.decisions if each.event_time is not None]
    assert days == [29.5, 29.5, 29.5, 29.5, 30.0, 32.0, 34.0]
    assert (loop.stage, loop.state.champion) == (Stage.WATCHING, 1)
    promoted = loop.decisions[-1]
    assert isinstance(promoted, r.Promoted)
    assert promoted.route.shadows == (0, 2)


def test_a_baseline_that_cannot_be_served_is_said() -> None:
    first = Loop().journal[1][1]
    assert isinstance(first, r.VersionRegistered)
    loop = Loop(baseline=False)
    [alerted] = loop.take(replace(first, stage=VersionStage.REFUSED, reason="it died"))
    assert isinstance(alerted, r.Alerted)
    assert alerted.reason == "nothing can answer yet: version 0: it died"
    assert loop.stage is Stage.BOOTSTRAPPING


def test_every_lane_is_trained_of_what_is_sealed() -> None:
    first, second = (each for each in _trained().decisions if isinstance(each, r.RetrainRequested))
    assert (first.lane, first.purpose, first.since, first.cut) == (
        "everything",
        Purpose.FIRST,
        None,
        28 * DAY,
    )
    assert (second.lane, second.purpose, second.since) == ("linear", Purpose.REFRESH, -28 * DAY)
    assert first.champion is None


def test_a_refresh_of_the_champions_lane_is_promoted_and_one_of_another_lane_is_a_shadow() -> None:
    loop = _trained()
    since = len(loop.decisions)
    loop.run(56)
    assert loop.said(since=since) == [
        "RetrainRequested",
        "ShadowStarted 3",
        "RetrainRequested",
        "ShadowStarted 4",
        "CanaryStarted 3",
        "CanaryAdvanced 3",
        "Promoted 3",
    ]
    assert loop.state.shadows == (0, 1, 4)


def test_what_the_gate_refused_is_no_challenger() -> None:
    loop = _trained(43.25)
    loop.beat(43.5)
    made = loop.register(verdict=Verdict.REFUSED)
    assert [type(each).__name__ for each in made] == ["Rejected", "RetrainRequested"]
    loop.trained()
    assert loop.stage is Stage.WATCHING
    assert loop.state.shadows == (0, 4)


def test_a_training_that_fails_is_said_and_the_next_lane_goes_on() -> None:
    loop = _trained(43.25)
    loop.beat(43.5)
    pending = loop.state.pending
    assert pending is not None
    made = loop.take(
        r.JobFailed(id="f", pipeline="churn", decision=pending.decision, reason="one class", causes=())
    )
    assert [type(each).__name__ for each in made] == ["Alerted", "RetrainRequested"]
    loop.register(stage=VersionStage.REFUSED)
    assert loop.said()[-1] == "Alerted"
    assert loop.stage is Stage.WATCHING


def test_a_lane_that_another_spec_has_ended_is_not_waited_for() -> None:
    loop = Loop()
    loop.run(29)
    while loop.state.pending is None:
        loop.beat(loop.day + 0.25)
    assert list(loop.state.queue) == ["linear"]
    loop.apply(lanes={"everything": {"window": "expanding"}})
    loop.register()
    after = loop.state
    assert (after.stage, after.pending, after.queue) == (Stage.SHADOWING, None, ())
    loop.run(36)
    assert loop.state.champion == 1


def test_an_alarm_is_answered_by_staged_trainings_within_the_budget() -> None:
    loop = _trained(40)
    since = len(loop.decisions)
    loop.degrade(1, onset=37.5)
    loop.run(43)
    first, *_ = loop.decisions[since:]
    assert isinstance(first, r.RetrainRequested)
    assert (first.lane, first.purpose, first.onset) == ("alarm", Purpose.ALARM, int(37.5 * DAY))
    assert (first.stage, first.since, first.champion) == (0, None, 1)
    loop.run(48)
    # Its version answers a share at once. 500 rows more had come after 1.7 days, and the cool-down was over
    # after 3: the next stage waited until this one was tested to its end.
    assert [what for what in loop.said(since=since) if "Archived" not in what][:7] == [
        "RetrainRequested",
        "ShadowStarted 3",
        "CanaryStarted 3",
        "CanaryAdvanced 3",
        "Promoted 3",
        "RetrainRequested",
        "ShadowStarted 4",
    ]
    days = [each.event_time for each in loop.decisions[since:]]
    assert days[2] == days[0]


def test_an_alarm_that_is_over_trains_nothing_more() -> None:
    loop = _trained(40)
    loop.degrade(1, onset=37.5)
    loop.beat(40.25)
    loop.trained()
    loop.recover(1)
    since = len(loop.decisions)
    loop.run(43.25)
    assert not [each for each in loop.decisions[since:] if isinstance(each, r.RetrainRequested)]


def test_the_former_champion_wins_back_what_its_successor_spoils() -> None:
    loop = _trained(56)
    assert (loop.state.champion, loop.state.watch and loop.state.watch.former) == (3, 1)
    loop.compare(1, better=SURE - 0.5)
    assert loop.beat(56.25) == []
    loop.compare(1, better=SURE)
    [back] = loop.beat(56.5)
    assert isinstance(back, r.RolledBack)
    assert (back.version, back.route.champion, back.numbers["fallen"]) == (1, 1, 3)
    assert (loop.stage, loop.state.champion, loop.state.watch) == (Stage.STEADY, 1, None)
    assert len(back.causes) == 2


def test_a_former_champion_under_test_is_restored_and_not_tested_against_itself() -> None:
    loop = _trained(36.5)
    loop.command(r.PromoteVersion, version=2, force=True)
    loop.command(r.PromoteVersion, version=1, force=False)
    loop.beat(36.75)
    assert (loop.stage, loop.state.canary) == (Stage.CANARYING, 1)
    loop.compare(1, better=SURE)
    [back] = loop.beat(37)
    assert isinstance(back, r.RolledBack)
    assert (back.route.champion, back.route.canary) == (1, None)
    assert (loop.stage, loop.state.challenger) == (Stage.STEADY, None)


def test_a_former_champion_that_answers_a_share_is_not_let_go() -> None:
    loop = Loop(canary={"shares": [0.1], "each": "28d"})
    loop.run(60)
    assert loop.state.champion == 1
    loop.command(r.PromoteVersion, version=2, force=True)
    loop.command(r.PromoteVersion, version=1, force=False)
    loop.run(60 + 14 + 2)
    assert (loop.state.watch, loop.state.canary) == (None, 1)
    assert "Archived 1" not in loop.said()


def test_an_operator_forces_a_version_and_the_watch_takes_it_back() -> None:
    loop = _trained(42)
    [forced] = loop.command(r.PromoteVersion, version=0, force=True, reason="because")
    assert isinstance(forced, r.Promoted)
    assert (forced.event_time, forced.route.champion, forced.reason) == (
        42 * DAY,
        0,
        "forced by ann: because",
    )
    loop.compare(1, better=SURE)
    [back] = loop.beat(42.25)
    assert isinstance(back, r.RolledBack)
    assert loop.state.champion == 1


def test_what_an_operator_forced_is_not_overturned_by_the_calendar() -> None:
    loop = _trained(42)
    loop.command(r.PromoteVersion, version=0, force=True)
    loop.run(57)  # both lanes were refreshed on day 43.5
    assert (loop.state.champion, loop.stage) == (0, Stage.WATCHING)
    loop.run(64)  # and again when the watch was over
    assert loop.state.champion != 0


def test_a_former_champion_that_is_no_yardstick_is_let_go() -> None:
    loop = _trained(56)  # version 3 took over on day 49, from version 1
    loop.recover(1)
    since = len(loop.decisions)
    loop.command(r.PromoteVersion, version=4, force=True)
    assert 3 in loop.state.shadows
    loop.run(72)
    assert loop.said(since=since).count("Archived 3") == 1
    assert 3 not in loop.state.shadows


def test_a_challenger_that_does_harm_is_given_up() -> None:
    loop = _trained(45.25)
    assert loop.stage is Stage.CANARYING
    loop.compare(3, worse=SURE)
    [rejected] = loop.beat(45.5)
    assert isinstance(rejected, r.Rejected)
    assert rejected.route.canary is None
    assert loop.state.stage is Stage.WATCHING


def test_a_lane_that_has_proven_better_is_tested() -> None:
    loop = _trained(40)
    version = next(lane.version for lane in loop.state.lanes if lane.lane == "linear")
    assert version is not None
    loop.compare(version, lane="linear", ewma=-0.01, better=3.0)
    assert not loop.beat(loop.day + 0.25)  # the level is shared over the pipeline's life: 6/π² of it
    loop.compare(version, lane="linear", ewma=-0.004, better=9.0)
    assert not loop.beat(loop.day + 0.25)  # within the margin
    loop.compare(version, lane="linear", ewma=-0.01, better=9.0)
    [changed] = loop.beat(loop.day + 0.25)
    assert isinstance(changed, r.LaneChanged)
    assert loop.stage is Stage.SHADOWING
    loop.run(loop.day + 4.25)
    assert loop.state.champion == version
    assert loop.state.tests == 2  # the baseline lane gave way to the first, that to this one


def test_held_decides_nothing_until_resumed() -> None:
    loop = _trained(40)
    loop.command(r.HoldPipeline)
    assert loop.stage is Stage.HELD
    since = len(loop.decisions)
    loop.run(60)
    assert loop.decisions[since:] == []
    loop.command(r.ResumePipeline)
    loop.run(60.25)
    assert loop.said(since=since)[:3] == ["Resumed", "RetrainRequested", "ShadowStarted 3"]


@pytest.mark.parametrize(("approval", "people"), [("manual", ["ann"]), ("four_eyes", ["ann", "bob"])])
def test_a_challenger_waits_for_people(approval: str, people: list[str]) -> None:
    loop = Loop(approval=approval)
    loop.run(40)
    assert loop.said()[-1] == "ApprovalRequested 1"
    assert loop.said().count("ApprovalRequested 1") == 1
    for place, person in enumerate(people, 1):
        assert not [each for each in loop.beat(loop.day + 0.25) if isinstance(each, r.CanaryStarted)]
        for _ in range(2):
            [said] = loop.command(r.PromoteVersion, version=1, force=False, operator=person)
            assert isinstance(said, r.Approved)
            assert (said.version, said.reason) == (1, f"approved of by {', '.join(people[:place])}")
    assert [type(each).__name__ for each in loop.beat(loop.day + 0.25)] == ["CanaryStarted"]


@pytest.mark.parametrize(
    ("kind", "fields", "why"),
    [
        (r.PromoteVersion, {"version": 9, "force": True}, "no version 9"),
        (r.PromoteVersion, {"version": 1, "force": True}, "champion already"),
        (r.ResumePipeline, {}, "not held"),
    ],
)
def test_a_command_that_cannot_be_obeyed_is_answered(
    kind: type[object], fields: dict[str, object], why: str
) -> None:
    loop = _trained(40)
    [said] = loop.command(kind, **fields)
    assert isinstance(said, r.Alerted)
    assert why in said.reason


def test_evidence_said_twice_is_taken_once() -> None:
    loop = _trained(40)
    beat = next(fact for _, fact in reversed(loop.journal) if isinstance(fact, r.Heartbeat))
    before = loop.state
    loop.take(beat)
    assert loop.state.taken == before.taken + 1
    assert loop.state.judged == before.judged


def test_each_decision_names_the_one_before_it_and_a_replay_gives_the_same() -> None:
    loop = _trained(60)
    loop.command(r.PromoteVersion, version=0, force=True)
    loop.run(90)
    again = replay(loop.journal)
    assert again == loop.decisions
    for before, after in zip(loop.decisions, loop.decisions[1:], strict=False):
        assert after.previous == digest_of(before)
    assert len({each.id for each in loop.decisions}) == len(loop.decisions)
