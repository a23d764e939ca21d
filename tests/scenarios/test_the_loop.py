"""drift → retrain → shadow → canary → promote → worse → rollback, with all six services, in seconds.

Who leaves is decided by age. Then the world turns round, and the other half leaves; then it turns back.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from penstock.cli.backtest.system import TASKS
from penstock.contracts import records as r
from penstock.governor.domain import replay
from penstock.onnx import judged_here
from tests.scenarios.system import CHURN, System

MINUTE = 60_000
HOUR = 60 * MINUTE
EVERY = 10_000
"""Milliseconds between two events."""
DELAY = 5 * MINUTE
"""Until a label is known."""

LOOP: dict[str, Any] = {
    **CHURN,
    "labels": {
        "topic": "crm.outcomes",
        "id": "event_id",
        "time": "at",
        "value": "churned",
        "horizon": "10m",
    },
    "features": {"age": "number"},
    "lanes": {"trees": {"algorithm": "hist_gradient_boosting", "window": "expanding", "every": "30d"}},
    "policy": {
        "first_training": "2h",
        "alarm": {"average_run_length": 1000, "block": "2m"},
        "compare": {"block": "2m", "level": 0.05, "margin": 0.005, "half_life": 400},
        "canary": {"shares": [0.1, 0.5], "each": "10m"},
        "watch": "2h",
        "retrain": {"cool_down": "20m", "at_most": "1 per 12h"},
    },
}


TURNED = (int(4.9 * HOUR), 6 * HOUR)
"""Long enough for a new version to take over, and no longer."""


def _left(age: float, time: int, turned: tuple[int, int], dice: random.Random) -> bool:
    """Whether somebody leaves: seven in ten of the older ones, and one in ten of the others."""
    older = (age > 50) != (turned[0] <= time < turned[1])
    return dice.random() < (0.7 if older else 0.1)


def stream(hours: float, turned: tuple[int, int]) -> Iterator[tuple[int, str, Mapping[str, object]]]:
    """Events and labels in the order in which they come."""
    dice = random.Random(7)  # noqa: S311 - a stream, not a secret
    found: list[tuple[int, str, Mapping[str, object]]] = []
    for number in range(int(hours * HOUR) // EVERY):
        time, age = number * EVERY, float(dice.randint(18, 82))
        found.append((time, "crm.events", {"event_id": f"c{number}", "at": time, "age": age}))
        churned = _left(age, time, turned, dice)
        label = {"event_id": f"c{number}", "at": time + DELAY, "churned": churned}
        found.append((time + DELAY, "crm.outcomes", label))
    yield from sorted(found, key=lambda each: each[:2])


def run(hours: float, turned: tuple[int, int], *, step: int = 2 * MINUTE) -> System:
    """The whole system over a stream, fed a stretch at a time."""
    system = System(TASKS)
    system.apply(LOOP)
    due = step
    with judged_here():
        system.settle()
        for time, topic, record in stream(hours, turned):
            if time >= due:
                system.settle()
                due = (time // step + 1) * step
            system.produce(topic, record)
        system.settle()
    return system


def told(system: System) -> list[tuple[str, int | None, str | None, int | None]]:
    return [
        (type(each).__name__, getattr(each, "version", None), getattr(each, "lane", None), each.event_time)
        for each in system.events("decisions")
    ]


@pytest.fixture(scope="module")
def turned() -> System:
    return run(7.5, TURNED)


def test_drift_is_noticed_answered_and_taken_back_when_it_was_wrong(turned: System) -> None:
    decisions = [(kind, version) for kind, version, _, _ in told(turned)]
    assert decisions[:7] == [
        ("BaselineRequested", None),
        ("RetrainRequested", None),
        ("ShadowStarted", 1),
        ("CanaryStarted", 1),
        ("CanaryAdvanced", 1),
        ("Promoted", 1),
        ("RetrainRequested", None),
    ], decisions
    asked = turned.events("decisions")[6]
    assert asked.purpose is r.Purpose.ALARM
    assert TURNED[0] < asked.event_time < TURNED[1]
    assert decisions[7:11] == [
        ("ShadowStarted", 2),
        ("CanaryStarted", 2),
        ("CanaryAdvanced", 2),
        ("Promoted", 2),
    ], decisions
    # The world has turned back, and the budget allows no other training.
    [back] = [each for each in turned.events("decisions") if isinstance(each, r.RolledBack)]
    assert (back.version, back.numbers["fallen"]) == (1, 2)
    assert TURNED[1] < (back.event_time or 0) < 7.5 * HOUR
    assert turned.events("routes")[-1].champion == 1


def test_a_replay_of_its_journal_gives_the_same_log(turned: System) -> None:
    journal = [(taken, turned.decode(taken.value)) for taken in turned.events("governor-journal")]
    again = [turned.codec.encode(each) for each in replay(journal)]
    assert again == [record.value for record in turned.broker.records("penstock.decisions")]


def test_how_fast_the_stream_comes_changes_no_decision(turned: System) -> None:
    slow = run(3, TURNED, step=30_000)
    fast = told(turned)
    assert told(slow) == fast[: len(told(slow))]
