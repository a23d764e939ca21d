"""The pace of the replay: producers stop where the system has not judged yet, and go on when it has."""

from __future__ import annotations

import threading

import pytest

from penstock.cli.demo.arrivals import ALL
from penstock.cli.demo.pace import AHEAD, BEHIND, Pace, Stopped

SOON = 20.0
HOUR = 3_600_000
DAY = 24 * HOUR


def paced(*, until: int | None = None) -> Pace:
    """A pace that only judging holds back."""
    pace = Pace(start=10 * DAY, first=DAY, until=until)
    pace.predicted(ALL)
    pace.labelled(ALL)
    return pace


def test_what_is_allowed_is_bounded_by_the_limit_and_by_the_batch() -> None:
    pace = paced()
    times = [DAY, 2 * DAY, 10 * DAY, 11 * DAY, 15 * DAY]
    assert pace.events.allowed(times, 0, most=100) == 3
    assert pace.labels.allowed(times, 0, most=2) == 2
    pace.judged(10 * DAY)
    assert pace.events.allowed(times, 3, most=100) == 4


def test_nobody_is_more_than_a_day_ahead_of_what_is_judged_and_nobody_goes_back() -> None:
    pace = paced()
    pace.judged(100 * DAY)
    pace.judged(50 * DAY)
    assert pace.events.time == pace.labels.time == 100 * DAY + AHEAD == 101 * DAY


def test_over_a_gap_in_the_data_goes_what_has_to_be_sent_before_more_can_be_judged() -> None:
    pace = Pace(start=DAY, first=DAY, needed=lambda now: now + 3 * DAY)
    pace.predicted(ALL)
    pace.judged(DAY)
    assert pace.labels.time == 4 * DAY


def test_labels_are_at_most_a_day_ahead_of_the_predictions_in_the_log() -> None:
    pace = Pace(start=10 * DAY, first=DAY)
    assert pace.labels.time == AHEAD
    pace.predicted(3 * DAY)
    assert pace.labels.time == 3 * DAY + AHEAD


def test_events_are_at_most_half_a_day_ahead_of_the_labels_in_the_log() -> None:
    pace = Pace(start=10 * DAY, first=DAY)
    assert pace.events.time == DAY
    pace.labelled(3 * DAY)
    assert pace.events.time == 3 * DAY + BEHIND == 3.5 * DAY


def test_just_the_first_day_is_sent_before_anything_runs() -> None:
    """What is there when a pipeline is applied is what its categories are learned from."""
    assert Pace(start=10 * DAY, first=DAY).events.time == DAY


def test_nothing_is_sent_past_a_closed_gate() -> None:
    pace = paced(until=5 * DAY)
    pace.judged(30 * DAY)
    assert pace.events.time == pace.labels.time == 5 * DAY - 1
    pace.open()
    assert pace.events.time == 31 * DAY


def test_who_waits_goes_on_when_the_system_has_judged() -> None:
    pace = paced()
    got: list[int] = []
    times = [20 * DAY, 20 * DAY + 1, 22 * DAY]
    waiter = threading.Thread(target=lambda: got.append(pace.events.allowed(times, 0, most=9)))
    waiter.start()
    pace.judged(15 * DAY)  # not enough
    pace.judged(20 * DAY)
    waiter.join(SOON)
    assert got == [2]


def test_who_waits_is_let_go_when_the_replay_is_given_up() -> None:
    pace = paced()
    caught: list[BaseException] = []

    def wait() -> None:
        with pytest.raises(Stopped) as stopped:
            pace.labels.allowed([20 * DAY], 0, most=1)
        caught.append(stopped.value)

    waiter = threading.Thread(target=wait)
    waiter.start()
    pace.stop()
    waiter.join(SOON)
    assert len(caught) == 1
