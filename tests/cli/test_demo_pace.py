"""The pace of the replay: producers stop where the system has not judged yet, and go on when it has."""

from __future__ import annotations

import threading

import pytest

from penstock.cli.demo.pace import Pace, Stopped

SOON = 20.0


def test_what_the_pace_allows_is_bounded_by_the_limit_and_by_the_batch() -> None:
    pace = Pace(start=10, ahead=5)
    times = [1, 2, 10, 11, 15, 16, 30]
    assert pace.allowed(times, 0, most=100) == 3
    assert pace.allowed(times, 0, most=2) == 2
    pace.judged(10)
    assert pace.allowed(times, 3, most=100) == 5


def test_the_pace_never_goes_back() -> None:
    pace = Pace(start=0, ahead=5)
    pace.judged(100)
    pace.judged(50)
    assert pace.limit == 105


def test_who_waits_goes_on_when_the_system_has_judged() -> None:
    pace = Pace(start=0, ahead=5)
    got: list[int] = []
    waiter = threading.Thread(target=lambda: got.append(pace.allowed([20, 24, 26], 0, most=9)))
    waiter.start()
    pace.judged(10)  # 15 is not enough
    pace.judged(20)
    waiter.join(SOON)
    assert got == [2]


def test_who_waits_is_let_go_when_the_replay_is_given_up() -> None:
    pace = Pace(start=0, ahead=5)
    caught: list[BaseException] = []

    def wait() -> None:
        with pytest.raises(Stopped) as stopped:
            pace.allowed([20], 0, most=1)
        caught.append(stopped.value)

    waiter = threading.Thread(target=wait)
    waiter.start()
    pace.stop()
    waiter.join(SOON)
    assert len(caught) == 1
