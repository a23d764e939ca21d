"""Events that are not fresh, and events that come again."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.records import RuleCount
from penstock.ingest.domain.repeats import Repeats
from penstock.kernel.arrivals import DAY, REMEMBERED, Window
from penstock.kernel.mistakes import Mistakes
from penstock.kernel.pipeline import Pipeline
from tests.ingest.taking import World, event, spec, taken
from tests.scenarios.fragile import STEPS, Step
from tests.scenarios.system import HOUR

# -- freshness


def test_what_is_too_old_is_refused() -> None:
    raw = spec(events={"freshness": {"at_most": "7d"}})
    intake = taken(raw, event("old", DAY - 1), event("fresh", DAY), written=8 * DAY)
    assert intake.ids == ["fresh"]
    assert (str(intake.refused[0]), intake.refused[0].reason) == (
        "at is more than 7d before the record was written",
        "stale",
    )
    assert intake.rules == (RuleCount(field="at", rule="freshness", action="dead_letter", count=1),)


def test_what_is_not_fresh_is_marked_but_the_future_stays_out() -> None:
    raw = spec(events={"freshness": {"at_most": "7d", "ahead": "1h", "otherwise": "flag"}})
    now = 8 * DAY
    intake = taken(
        raw,
        event("old", 0),
        event("now", now),
        event("early", now + 2 * HOUR),
        event("from 2999", now + 2 * DAY),
        written=now,
    )
    assert list(zip(intake.ids, intake.flags, strict=True)) == [
        ("old", ("at:freshness",)),
        ("now", ()),
        ("early", ("at:freshness",)),
    ]
    assert intake.refused[3].reason == "future_time"
    assert intake.rules == (
        RuleCount(field="at", rule="freshness", action="dead_letter", count=1),
        RuleCount(field="at", rule="freshness", action="flag", count=2),
    )


def test_ahead_may_be_wider_and_narrower_than_a_day() -> None:
    forecast = spec(events={"freshness": {"ahead": "30d"}})
    assert taken(forecast, event("a", 30 * DAY), written=0).ids == ["a"]
    strict = spec(events={"freshness": {"ahead": "0h"}})
    assert (
        str(taken(strict, event("a", 2), written=1).refused[0])
        == "at is 2, more than 0h after the record was written"
    )


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ({"freshness": {"at_most": "0d"}}, ".freshness.at_most: expected a duration longer than 0"),
        (
            {"freshness": {"atmost": "1d"}},
            ".freshness.atmost: unknown key 'atmost' (did you mean 'at_most'?)",
        ),
        ({"freshness": {"otherwise": "set_missing"}}, ".freshness.otherwise: unknown value 'set_missing'"),
        ({"freshness": "1d"}, ".freshness: expected keys and values, got '1d'"),
        (
            {"duplicates": "1"},
            ".duplicates: expected a duration such as 1h, so many rows such as 50000rows, or",
        ),
        ({"duplicates": "600000rows"}, ".duplicates: at most 500000rows are remembered"),
        ({"duplicates": "0h"}, ".duplicates: expected a duration"),
    ],
)
def test_a_mistake_about_arrivals(events: dict[str, object], complaint: str) -> None:
    with pytest.raises(Mistakes) as found:
        Pipeline.read(spec(events=events))
    [mistake] = found.value.items
    assert str(mistake).startswith(f"events{complaint}")


def test_off_is_suggested() -> None:
    with pytest.raises(Mistakes, match=re.escape("got 'of' (did you mean 'off'?)")):
        Pipeline.read(spec(events={"duplicates": "of"}))


# -- duplicates


def test_an_event_that_comes_again_becomes_nothing_and_is_counted() -> None:
    world = World(spec())
    for at in (HOUR, HOUR, 2 * HOUR, 3 * HOUR):
        world.event(event("a", at))
        world.rows()
    assert [(row.id, row.time) for row in world.rows()] == [("a", HOUR), ("a", 3 * HOUR)], (
        "an hour, both ends in"
    )
    assert [(each.seen, each.taken, each.duplicates) for each in world.told()] == [
        (1, 1, 0),
        (1, 0, 1),
        (1, 0, 1),
        (1, 1, 0),
    ]
    assert world.letters() == []


def test_a_refused_event_may_come_again() -> None:
    world = World(spec())
    world.event(event("a", age="x"))
    world.event(event("a"))
    assert len(world.rows()) == 1
    assert len(world.letters()) == 1


def test_duplicates_can_be_let_through() -> None:
    world = World(spec(events={"duplicates": "off"}))
    for _ in range(2):
        world.event(event("a"))
    assert len(world.rows()) == 2


@pytest.mark.parametrize("step", STEPS)
def test_an_aborted_event_is_no_repeat_of_itself(step: Step) -> None:
    world = World(spec())
    world.rows()
    world.event(event("a"))
    world.broker.abort(step)
    world.rows()
    assert [row.id for row in world.rows()] == ["a"]
    assert world.broker.failures == 1
    world.event(event("a"))
    assert [row.id for row in world.rows()] == ["a"]


def test_another_window_begins_empty_and_the_same_one_goes_on() -> None:
    world = World(spec())
    world.event(event("a"))
    world.rows()
    world.system.apply(spec(owner="me"))
    world.event(event("a"))
    assert len(world.rows()) == 1
    world.system.apply(spec(events={"duplicates": "2h"}))
    world.event(event("a"))
    assert len(world.rows()) == 2


def oracle(window: Window, batches: list[list[tuple[str, int]]]) -> list[list[bool]]:
    """Remembers everything."""
    last: dict[str, int] = {}
    rows, found = 0, []
    for batch in batches:
        marks = []
        for name, time in batch:
            stamp = time if window.of == "time" else rows
            rows += 1
            before = last.get(name)
            marks.append(before is not None and abs(stamp - before) <= window.size)
            if not marks[-1]:
                last[name] = stamp
        found.append(marks)
    return found


@given(
    window=st.sampled_from([Window(of="time", size=10), Window(of="rows", size=5), Window(of="off", size=0)]),
    steps=st.lists(
        st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 2)), max_size=6), max_size=12
    ),
    aborted=st.sets(st.integers(0, 11)),
)
def test_repeats_are_what_a_memory_without_end_says(
    window: Window, steps: list[list[tuple[str, int]]], aborted: set[int]
) -> None:
    """Event time goes on, as a stream's does; a batch that is aborted comes again."""
    now, batches = 0, []
    for step in steps:
        batch = []
        for name, ahead in step:
            now += ahead
            batch.append((name, now))
        batches.append(batch)
    repeats, found = Repeats(window), []
    for number, batch in enumerate(batches):
        names, times = [name for name, _ in batch], np.array([time for _, time in batch], dtype=np.int64)
        if number in aborted and window.of != "rows":  # whose count goes on
            repeats.among(names, times)
            repeats.drop()
        marks = repeats.among(names, times)
        found.append([False] * len(batch) if marks is None else marks.tolist())
        repeats.adopt()
    expected = oracle(window, batches)
    assert found == (expected if window.of != "off" else [[False] * len(batch) for batch in batches])


def test_memory_is_bounded_whatever_the_rate() -> None:
    repeats = Repeats(Window())
    for start in range(0, 3 * REMEMBERED, 20_000):
        ids = [str(number) for number in range(start, start + 20_000)]
        assert repeats.among(ids, np.zeros(len(ids), dtype=np.int64)) is None
        repeats.adopt()
        assert len(repeats) <= REMEMBERED + 20_000
    last = [str(3 * REMEMBERED - 1), str(2 * REMEMBERED + REMEMBERED // 2), "0"]
    marks = repeats.among(last, np.zeros(3, dtype=np.int64))
    assert marks is not None
    assert marks.tolist() == [True, True, False]
