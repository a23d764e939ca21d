"""Versions over time: what counts on a block, and who was the champion."""

from __future__ import annotations

from itertools import permutations

import pytest

from penstock.contracts.records import Purpose, VersionStage
from penstock.monitor.domain.versions import NEVER, Calendar, Event, learn
from tests.monitor.stream import DAY, HORIZON, HOUR, registered, staged

CHAMPION, SHADOW, ARCHIVED = VersionStage.CHAMPION, VersionStage.SHADOW, VersionStage.ARCHIVED
EVENTS: list[Event] = [
    registered(0, asked=None),
    registered(1, asked=DAY),
    staged(1, SHADOW, DAY, epoch=2),
    staged(1, CHAMPION, 3 * DAY, epoch=3),
    staged(0, SHADOW, 3 * DAY, epoch=3),
    registered(2, asked=5 * DAY, purpose=Purpose.REFRESH),
    staged(2, CHAMPION, 6 * DAY, epoch=4),
    staged(1, SHADOW, 6 * DAY, epoch=4),
    staged(1, ARCHIVED, 8 * DAY, epoch=5),
    staged(1, SHADOW, 10 * DAY, epoch=6),
]


def calendar(*events: Event) -> Calendar:
    return Calendar(lives=learn({}, events or EVENTS), horizon=HORIZON)


@pytest.mark.parametrize(
    ("start", "versions"),
    [
        (0, [0]),
        (DAY + HORIZON - 1, [0]),
        (DAY + HORIZON, [0, 1]),
        (5 * DAY + HORIZON, [0, 1, 2]),
        (8 * DAY - HOUR, [0, 1, 2]),
        (8 * DAY - HOUR + 1, [0, 2]),
        (10 * DAY + HORIZON - 1, [0, 2]),
        (10 * DAY + HORIZON, [0, 1, 2]),
    ],
)
def test_a_version_counts_from_a_horizon_after_it_was_asked_for_until_it_is_archived(
    start: int, versions: list[int]
) -> None:
    assert list(calendar().counting(start, start + HOUR)) == versions


def test_who_comes_back_counts_since_then() -> None:
    counting = calendar().counting(11 * DAY, 11 * DAY + HOUR)
    assert [counting[version].since for version in (0, 1, 2)] == [
        NEVER,
        10 * DAY + HORIZON,
        5 * DAY + HORIZON,
    ]


@pytest.mark.parametrize(
    ("start", "champions"),
    [
        (0, (0, None)),
        (3 * DAY - 1, (0, None)),
        (3 * DAY, (1, 0)),
        (6 * DAY, (2, 1)),
    ],
)
def test_the_champion_is_the_last_one_staged_by_then(
    start: int, champions: tuple[int | None, int | None]
) -> None:
    assert calendar().champions(start) == champions


def test_a_rollback_makes_the_fallen_one_the_former() -> None:
    back = calendar(*EVENTS, staged(1, CHAMPION, 11 * DAY, epoch=7), staged(2, SHADOW, 11 * DAY, epoch=7))
    assert back.champions(12 * DAY) == (1, 2)
    assert back.epoch == 7


def test_before_anything_is_known_nothing_counts() -> None:
    empty = Calendar(lives={}, horizon=HORIZON)
    assert empty.counting(0, HOUR) == {}
    assert empty.champions(0) == (None, None)
    assert (empty.epoch, empty.first_trained) == (0, None)


def test_a_refused_version_never_counts() -> None:
    refused = registered(1, asked=0, stage=VersionStage.REFUSED)
    assert list(calendar(registered(0, asked=None), refused).counting(5 * DAY, 6 * DAY)) == [0]


def test_repeats_and_the_order_of_epochs_change_nothing() -> None:
    staging = [event for event in EVENTS if event.version == 1][1:]
    first = [registered(0, asked=None), registered(1, asked=DAY)]
    expected = learn({}, [*first, *staging])
    for order in permutations(staging):
        assert learn({}, [*first, *order, *order[:2], *first]) == expected


def test_lanes_are_stood_for_by_their_newest_version_and_yardsticks_step_back() -> None:
    events: list[Event] = [
        registered(0, asked=None),
        registered(1, asked=0),
        registered(2, "recent", asked=0),
        staged(1, CHAMPION, 0, epoch=2),
        registered(3, asked=DAY, purpose=Purpose.REFRESH),
        registered(4, "recent", asked=DAY, purpose=Purpose.REFRESH),
        staged(4, CHAMPION, 3 * DAY, epoch=3),
        staged(3, ARCHIVED, 5 * DAY, epoch=4),
    ]
    known = calendar(*events)

    def lanes(start: int) -> dict[str, int]:
        champion, _ = known.champions(start)
        assert champion is not None
        return known.lanes(start, known.counting(start, start + HOUR), champion=champion)

    assert lanes(HORIZON) == {"everything": 1, "recent": 2}
    assert lanes(2 * DAY) == {"everything": 1, "recent": 4}, "the champion stands for its own lane"
    assert lanes(4 * DAY) == {"everything": 3, "recent": 4}
    assert lanes(6 * DAY) == {"recent": 4}, "the first trained version is only a yardstick now"
    assert calendar(events[0]).lanes(0, [0], champion=0) == {"baseline": 0}
