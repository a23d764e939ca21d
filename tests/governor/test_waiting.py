"""How long a training takes is no fact about the stream: whatever comes meanwhile waits for its end."""

from __future__ import annotations

from math import log

import pytest

from penstock.contracts import records as r
from penstock.contracts.records import Stage
from penstock.governor.domain import replay
from tests.governor.governing import DAY, Loop

STEP = 0.25
SURE = log(1 / 0.05) + 0.1


def told(loop: Loop) -> list[tuple[object, ...]]:
    return [
        (
            type(each).__name__,
            getattr(each, "version", None),
            getattr(each, "lane", None),
            each.event_time,
            getattr(each, "cut", None),
        )
        for each in loop.decisions
    ]


def run(loop: Loop, until: float, *, late: int) -> None:
    """Heartbeats up to a day; each training is answered after so many of them."""
    waiting = 0
    while loop.day < until:
        loop.beat(loop.day + STEP)
        waiting = waiting + 1 if loop.state.pending is not None else 0
        if waiting > late:
            loop.trained()
            waiting = 0
    loop.trained()


@pytest.mark.parametrize("late", [1, 2, 4])
def test_what_is_decided_does_not_depend_on_how_long_a_training_takes(late: int) -> None:
    prompt, tardy = Loop(), Loop()
    for loop, wait in ((prompt, 0), (tardy, late)):
        run(loop, 60, late=wait)
        loop.degrade(loop.state.champion or 0, onset=58)
        run(loop, 80, late=wait)
        loop.command(r.PromoteVersion, version=0, force=True)
        loop.compare(loop.state.watch.former if loop.state.watch else 0, better=SURE)
        run(loop, 120, late=wait)
    assert told(tardy) == told(prompt)
    assert {"RetrainRequested", "Promoted", "RolledBack"} <= {kind for kind, *_ in told(prompt)}
    assert (tardy.state.judged, tardy.stage) == (prompt.state.judged, prompt.stage)
    assert replay(tardy.journal) == tardy.decisions


def test_evidence_that_waits_is_no_decision_yet() -> None:
    loop = Loop()
    run(loop, 29.25, late=0)
    loop.beat(29.5)
    assert loop.stage is Stage.RETRAINING
    before = len(loop.decisions)
    loop.beat(29.75)
    assert (loop.state.judged, len(loop.decisions)) == (29.5 * DAY, before)
    assert loop.governed is not None
    assert len(loop.governed.deferred) == 1
    loop.trained()
    assert loop.state.judged == 29.75 * DAY
    assert not loop.governed.deferred


def test_a_training_that_takes_too_long_holds_nobody_up() -> None:
    loop = Loop()
    loop.run(36)
    loop.command(r.PromoteVersion, version=0, force=True)
    run(loop, 43.25, late=0)
    loop.beat(43.5)
    assert loop.state.pending is not None
    loop.compare(1, better=SURE)
    while loop.state.champion == 0:
        loop.beat(loop.day + STEP)
    assert loop.state.pending is not None
    assert loop.day == 43.5 + 1 + STEP  # a day is less than the horizon
