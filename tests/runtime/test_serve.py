"""How a service lives on: which errors are waited out, and which end the process with which code."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from penstock.runtime import serve
from penstock.runtime.broker import Broker
from penstock.runtime.deadletter import FuseBlown
from penstock.runtime.errors import Fenced, Unavailable
from penstock.runtime.memory import MemoryBroker
from penstock.runtime.serve import CONFLICT, FAILED, INVALID, Life, keep
from penstock.runtime.settings import WrongSetting
from penstock.runtime.telemetry import Telemetry, off


class Worker:
    """Takes the steps it is given, in turn; one that is an error is raised."""

    def __init__(self, steps: list[Exception | Callable[[], None]]) -> None:
        self.steps = steps
        self.built = 0
        self.closed = 0
        self.sticks = False

    def make(self, broker: Broker, telemetry: Telemetry) -> Worker:  # noqa: ARG002 - as every worker is made
        self.built += 1
        return self

    def step(self) -> None:
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        step()

    def close(self) -> None:
        self.closed += 1
        if self.sticks:
            raise RuntimeError("cannot be closed")


def lived(worker: Worker, life: Life) -> None:
    keep(worker.make, MemoryBroker(now=lambda: 0), off(), life)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "RETRY", 0.0)


def test_a_broker_that_is_away_is_waited_for_with_everything_built_anew() -> None:
    life = Life()
    worker = Worker([Unavailable("away"), Unavailable("still away"), life.stop.set])
    lived(worker, life)
    assert (worker.built, worker.closed, life.code) == (3, 3, 0)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Fenced("a newer one"), CONFLICT),
        (FuseBlown("all bad"), FAILED),
        (WrongSetting("a key is missing"), INVALID),
        (KeyError("a mistake of ours"), FAILED),
    ],
)
def test_anything_else_ends_the_process(error: Exception, code: int) -> None:
    life = Life()
    worker = Worker([error])
    lived(worker, life)
    assert (worker.built, worker.closed, life.code) == (1, 1, code)
    assert life.stop.is_set(), "the other threads end too"


def test_a_worker_that_cannot_be_closed_ends_the_process() -> None:
    """Its thread is gone: the others would go on, and nobody would know that a part is missing."""
    life = Life()
    worker = Worker([Unavailable("away")])
    worker.sticks = True
    lived(worker, life)
    assert (life.code, life.stop.is_set()) == (FAILED, True)
