"""Comparisons: paired, begun anew where they have to be, living on where they may."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest

from penstock.contracts.records import LanesCompared, Purpose, VersionsCompared, VersionStage
from penstock.kernel.eprocess import EProcess
from penstock.monitor.domain.versions import Event
from tests.monitor.stream import (
    DAY,
    EVEN,
    HORIZON,
    HOUR,
    Row,
    hourly,
    pipeline,
    registered,
    staged,
    summaries,
    told,
    world,
)

PIPELINE = pipeline()
CHAMPION, SHADOW = VersionStage.CHAMPION, VersionStage.SHADOW
EVENTS: list[Event] = [
    registered(0, asked=None),
    registered(1, asked=0),
    registered(2, "recent", asked=0),
    staged(1, CHAMPION, 0, epoch=2),
    staged(0, SHADOW, 0, epoch=2),
]
"""From 12 h on version 1 is the champion, version 2 is the other lane."""


def compared(
    rows: Sequence[Row], events: Sequence[Event] = EVENTS
) -> tuple[list[LanesCompared], list[VersionsCompared]]:
    rows = [*rows, Row(time=rows[-1].time + 3 * DAY)]
    _, evidence = told(summaries(rows, [], of=PIPELINE), world(events, of=PIPELINE))
    return (
        [each for each in evidence if isinstance(each, LanesCompared)],
        [each for each in evidence if isinstance(each, VersionsCompared)],
    )


def test_a_better_lane_is_shown_to_be_better() -> None:
    lanes, _ = compared(hourly(30 * 24, {1: EVEN, 2: EVEN - 0.02}))
    assert {(each.lane, each.against_lane, each.version, each.against) for each in lanes} == {
        ("recent", "everything", 2, 1)
    }
    assert [each.blocks for each in lanes] == list(range(1, len(lanes) + 1))
    assert lanes[0].since == 12 * HOUR
    assert all(each.bound == 0 == each.better for each in lanes[:20]), "used up for the bound"
    assert len({each.bound for each in lanes[20:]}) == 1
    end = lanes[-1]
    assert end.better > math.log(1 / 0.001)
    assert end.worse <= 0
    assert end.mean == pytest.approx(-0.02, abs=0.003)
    assert end.ewma == pytest.approx(-0.02, abs=0.003)
    assert end.rows == 12 * 6 * len(lanes)


def test_equal_lanes_are_never_shown_to_differ() -> None:
    lanes, versions = compared(hourly(60 * 24, {1: EVEN, 2: EVEN}))
    assert max(each.better for each in lanes) < math.log(20)
    assert max(max(each.better, each.worse) for each in versions) < math.log(20)


def test_evidence_is_the_kernels() -> None:
    lanes, versions = compared(hourly(20 * 24, {1: EVEN, 2: EVEN - 0.01}, noise=0.02))
    differences = [
        (after.mean * after.rows - before.mean * before.rows) / 72 for before, after in pairwise(lanes)
    ][19:]
    better = EProcess.start("not_worse", bound=lanes[-1].bound, margin=0.0)
    by_more = EProcess.start("worse", bound=lanes[-1].bound, margin=0.005)
    worse = by_more
    for difference in differences:
        better, worse, by_more = (
            better.update(difference),
            worse.update(difference),
            by_more.update(-difference),
        )
    assert lanes[-1].better == pytest.approx(better.log_e, rel=1e-6)
    assert lanes[-1].worse == pytest.approx(worse.log_e, rel=1e-6)
    assert versions[-1].better == pytest.approx(by_more.log_e, rel=1e-6)
    assert versions[-1].worse == pytest.approx(worse.log_e, rel=1e-6)


def test_a_lane_outlives_its_versions() -> None:
    """Version 3 is a refresh of the other lane: the lane's process goes on, the version's own begins."""
    events = [*EVENTS, registered(3, "recent", asked=10 * DAY, purpose=Purpose.REFRESH)]
    rows = hourly(10 * 24, {1: EVEN, 2: EVEN}) + hourly(
        10 * 24, {1: EVEN, 2: EVEN, 3: EVEN - 0.05}, start=10 * DAY, seed=3
    )
    lanes, versions = compared(rows, events)
    assert [each.blocks for each in lanes] == list(range(1, len(lanes) + 1))
    assert {each.version for each in lanes if each.time < 10 * DAY + 2 * HORIZON} == {2}
    assert {each.version for each in lanes if each.time > 10 * DAY + 2 * HORIZON + 6 * HOUR} == {3}
    [since] = {each.since for each in versions if each.version == 3}
    assert since == 10 * DAY + HORIZON


def test_a_new_champion_begins_everything_anew_with_a_bound_from_before() -> None:
    events = [*EVENTS, staged(2, CHAMPION, 10 * DAY, epoch=3), staged(1, SHADOW, 10 * DAY, epoch=3)]
    lanes, versions = compared(hourly(20 * 24, {0: EVEN + 0.1, 1: EVEN - 0.02, 2: EVEN}), events)
    after = [each for each in lanes if each.against == 2]
    assert {(each.lane, each.version, each.since) for each in after} == {("everything", 1, 10 * DAY)}
    assert after[0].blocks == 1
    assert after[0].bound > 0
    assert after[-1].better > math.log(20)
    former = [each for each in versions if each.against == 2]
    assert {each.version for each in former} == {1}, "version 0 is a yardstick and was never its forerunner"
    assert {each.version for each in versions if each.against == 1} == {0, 2}, "here it was"
    assert former[0].since == 10 * DAY
    assert former[-1].better > math.log(20)
    assert 0 < former[-1].bound < after[0].bound * 1.01


def test_a_refresh_within_the_champions_lane_lets_the_lanes_go_on() -> None:
    events = [
        *EVENTS,
        registered(3, asked=8 * DAY, purpose=Purpose.REFRESH),
        staged(3, CHAMPION, 10 * DAY, epoch=3),
        staged(1, SHADOW, 10 * DAY, epoch=3),
    ]
    lanes, versions = compared(hourly(20 * 24, {1: EVEN, 2: EVEN - 0.02, 3: EVEN}), events)
    assert {(each.version, each.since) for each in lanes} == {(2, 12 * HOUR)}
    assert {each.against for each in lanes} == {1, 3}
    assert {each.since for each in versions if each.against == 3} == {10 * DAY}


def test_rows_that_only_one_scored_are_not_compared() -> None:
    rows = [*hourly(5 * 24, {1: EVEN}), *hourly(2 * 24, {1: EVEN, 2: EVEN}, start=5 * DAY)]
    lanes, _ = compared(rows)
    assert lanes[0].since == 5 * DAY
    assert lanes[-1].blocks == 8


def test_a_forced_constant_is_found_out() -> None:
    """The operator makes version 0 the champion: its forerunner wins back."""
    events = [*EVENTS, staged(0, CHAMPION, 10 * DAY, epoch=3), staged(1, SHADOW, 10 * DAY, epoch=3)]
    _, versions = compared(hourly(20 * 24, {0: EVEN + 0.06, 1: EVEN, 2: EVEN}, noise=0.3), events)
    back = [each for each in versions if each.against == 0 and each.version == 1]
    assert back[-1].better > math.log(20)
    assert back[-1].worse <= 0
