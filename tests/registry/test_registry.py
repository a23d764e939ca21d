"""Candidates get numbers, decisions get routes, and repeats change nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from penstock.contracts.records import (
    CanaryAdvanced,
    CanaryStarted,
    Held,
    Promoted,
    Purpose,
    Rejected,
    RolledBack,
    Route,
    ShadowStarted,
    Source,
    TrafficSplit,
    Verdict,
    VersionRegistered,
    VersionStage,
    VersionStaged,
)
from penstock.kernel.errors import Invalid
from penstock.registry.domain import Rerouting, Routing, Versions, register, reroute
from penstock.runtime.broker import Message
from penstock.runtime.deadletter import HEADER
from tests.registry.given import candidate, registered
from tests.scenarios.system import CHURN, DAY, System

PLACE = Source(topic="penstock.decisions", partition=1, offset=9)
CHAMPION, CANARY, SHADOW, ARCHIVED, REFUSED, SPLIT = VersionStage


def route(epoch: int, champion: int, *shadows: int, canary: int | None = None, share: float = 0.0) -> Route:
    return Route(epoch=epoch, champion=champion, canary=canary, share=share, salt="", shadows=shadows)


def decision(kind: type[Routing], version: int, where: Route, **changes: Any) -> Routing:
    made = kind(
        id=f"{kind.__name__}-{where.epoch}",
        pipeline="churn",
        time=1,
        event_time=40 * DAY,
        policy="p",
        previous="",
        causes=(),
        version=version,
        lane="recent",
        route=where,
        numbers={},
        reason="it passed its gate",
    )
    return replace(made, **changes)


def grown(*stages: VersionStage) -> Versions:
    """Versions 0, 1, 2, … in these stages, at route epoch 1."""
    versions = Versions(epoch=1)
    for version, stage in enumerate(stages):
        versions = versions.recall(registered(version, stage))
    return versions


def after(versions: Versions, done: Rerouting) -> Versions:
    for staged in done.staged:
        versions = versions.recall(staged)
    return versions.recall(done.route)


def told(done: Rerouting | None) -> dict[int, VersionStage]:
    assert done is not None
    return {each.version: each.stage for each in done.staged}


# -- candidates


def test_only_the_first_good_candidate_is_routed_to() -> None:
    versions = Versions()
    stages, routed = [], []
    for number, refused in enumerate(["its golden vectors differ", "", "", "it is no ONNX"]):
        done = register(versions, candidate(number), PLACE, refused=refused)
        assert done is not None
        versions = versions.recall(done.registered)
        if done.route is not None:
            versions = versions.recall(done.route)
            routed.append((done.route.epoch, done.route.champion, done.route.decision))
        assert (done.model is None) == bool(refused)
        stages.append(done.registered.stage)
    assert stages == [REFUSED, CHAMPION, ARCHIVED, REFUSED]
    assert routed == [(1, 1, "")]


def test_a_registration_says_what_was_asked_for_and_how_it_was_judged() -> None:
    made = candidate(
        4,
        lane="recent",
        purpose=Purpose.REFRESH,
        asked=30 * DAY,
        cut=28 * DAY,
        verdict=Verdict.PASSED,
        metrics={"loss": 0.5},
    )
    done = register(grown(CHAMPION), made, PLACE)
    assert done is not None
    event = done.registered
    assert (event.version, event.lane, event.purpose, event.asked, event.cut) == (
        1,
        "recent",
        Purpose.REFRESH,
        30 * DAY,
        28 * DAY,
    )
    assert (event.decision, event.verdict, event.metrics) == ("decision-4", Verdict.PASSED, {"loss": 0.5})
    assert register(grown(CHAMPION).recall(event), made, PLACE) is None, "a repeat changes nothing"


# -- decisions


def test_a_decision_tells_of_each_version_whose_stage_it_changes_and_of_no_other() -> None:
    versions = grown(CHAMPION, ARCHIVED, REFUSED, ARCHIVED)
    shadowed = reroute(versions, decision(ShadowStarted, 1, route(2, 0, 1)), PLACE)
    assert shadowed is not None
    assert told(shadowed) == {1: SHADOW}
    [staged] = shadowed.staged
    assert (staged.event_time, staged.epoch, staged.decision, staged.reason, staged.causes) == (
        40 * DAY,
        2,
        "ShadowStarted-2",
        "it passed its gate",
        (PLACE,),
    )
    assert shadowed.route.decision == "ShadowStarted-2"

    versions = after(versions, shadowed)
    canary = decision(CanaryStarted, 1, route(3, 0, 1, canary=1, share=0.05))
    assert told(reroute(versions, canary, PLACE)) == {1: CANARY}
    promoted = decision(Promoted, 1, route(3, 1, 0))
    assert told(reroute(versions, promoted, PLACE)) == {0: SHADOW, 1: CHAMPION}
    gone = decision(Rejected, 1, route(3, 0))
    assert told(reroute(versions, gone, PLACE)) == {1: ARCHIVED}
    back = decision(RolledBack, 3, route(3, 3, 0, 1))
    assert told(reroute(versions, back, PLACE)) == {0: SHADOW, 3: CHAMPION}


def test_a_share_that_grows_changes_the_route_and_no_stage() -> None:
    versions = grown(CHAMPION, CANARY)
    done = reroute(versions, decision(CanaryAdvanced, 1, route(2, 0, canary=1, share=0.5)), PLACE)
    assert done is not None
    assert (done.staged, done.route.share) == ((), 0.5)


def test_a_split_is_a_stage_beside_the_canarys_and_its_share_is_in_the_route() -> None:
    split = replace(route(2, 0, 1, canary=2, share=0.1), split=3, split_share=0.25, split_salt="s")
    done = reroute(grown(CHAMPION, SHADOW, CANARY, SHADOW), decision(TrafficSplit, 3, split), PLACE)
    assert told(done) == {3: SPLIT}
    assert done is not None
    assert (done.route.split, done.route.split_share, done.route.split_salt) == (3, 0.25, "s")
    over = decision(TrafficSplit, 3, route(2, 0, 1, 3))
    ended = reroute(grown(CHAMPION, SHADOW, CANARY, SPLIT), over, PLACE)
    assert told(ended) == {2: ARCHIVED, 3: SHADOW}


def test_one_under_test_that_has_a_split_too_is_told_of_as_a_canary() -> None:
    both = replace(route(2, 0, canary=1, share=0.1), split=1, split_share=0.25, split_salt="s")
    assert told(reroute(grown(CHAMPION, SPLIT), decision(CanaryStarted, 1, both), PLACE)) == {1: CANARY}


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_route_that_is_not_newer_changes_nothing(epoch: int) -> None:
    assert reroute(grown(CHAMPION, ARCHIVED), decision(Promoted, 1, route(epoch, 1, 0)), PLACE) is None


@pytest.mark.parametrize(("version", "what"), [(2, "refused"), (7, "unknown")])
def test_nothing_is_routed_to_a_version_that_cannot_answer(version: int, what: str) -> None:
    with pytest.raises(Invalid, match=f"names the {what} version {version}") as refused:
        reroute(grown(CHAMPION, ARCHIVED, REFUSED), decision(Promoted, version, route(2, version)), PLACE)
    assert refused.value.reason == "unroutable"


# -- the task


@pytest.fixture
def system() -> System:
    """Version 0 answers, versions 1 and 2 of the same making wait."""
    made = System()
    made.apply(CHURN)
    made.settle()
    [zero] = made.events("candidates")
    for number in (1, 2):
        write(made, "candidates", replace(zero, id=f"candidate-{number}"))
    made.settle()
    assert [event.stage for event in made.events("lifecycle")] == [CHAMPION, ARCHIVED, ARCHIVED]
    return made


def write(system: System, topic: str, event: object) -> None:
    [first, *_] = system.broker.records("penstock.pipelines")  # all of a pipeline is on one number
    system.broker.append(
        Message(f"penstock.{topic}", system.codec.encode(event), b"churn", (), first.partition)
    )


COURSE = (
    decision(ShadowStarted, 1, route(2, 0, 1)),
    decision(CanaryStarted, 1, route(3, 0, canary=1, share=0.05)),
    decision(CanaryAdvanced, 1, route(4, 0, canary=1, share=0.25)),
    decision(Promoted, 1, route(5, 1, 0)),
    decision(ShadowStarted, 2, route(6, 1, 0, 2)),
    decision(RolledBack, 0, route(7, 0, 2)),
)


def test_the_course_of_decisions_is_the_course_of_stages(system: System) -> None:
    for each in COURSE:
        write(system, "decisions", each)
    system.settle()
    staged = [event for event in system.events("lifecycle") if isinstance(event, VersionStaged)]
    assert [(each.epoch, each.version, each.stage) for each in staged] == [
        (2, 1, SHADOW),
        (3, 1, CANARY),
        (5, 0, SHADOW),
        (5, 1, CHAMPION),
        (6, 2, SHADOW),
        (7, 0, CHAMPION),
        (7, 1, ARCHIVED),
    ]
    assert [each.epoch for each in system.events("routes")] == [1, 2, 3, 4, 5, 6, 7]


def test_a_registry_that_begins_anew_between_decisions_and_reads_all_twice_writes_the_same(
    system: System,
) -> None:
    for each in COURSE:
        write(system, "decisions", each)
        system.settle()
        write(system, "decisions", each)  # as a reader would see it that lost its offsets
        system.restart("registry")
        system.settle()
    assert [each.epoch for each in system.events("routes")] == [1, 2, 3, 4, 5, 6, 7]
    assert sum(isinstance(event, VersionRegistered) for event in system.events("lifecycle")) == 3
    assert sum(isinstance(event, VersionStaged) for event in system.events("lifecycle")) == 7


def test_a_decision_that_routes_nowhere_is_a_dead_letter_and_others_are_passed_by(system: System) -> None:
    held = Held(
        id="h",
        pipeline="churn",
        time=1,
        event_time=None,
        policy="p",
        previous="",
        causes=(),
        reason="the owner asked",
    )
    write(system, "decisions", held)
    write(system, "decisions", decision(Promoted, 9, route(2, 9)))
    write(system, "decisions", decision(Promoted, 1, route(3, 1, 0)))
    system.settle()
    [letter] = system.broker.records("penstock.dead-letters.registry")
    assert system.decode(dict(letter.headers)[HEADER]).reason == "unroutable"
    assert [each.epoch for each in system.events("routes")] == [1, 3]
