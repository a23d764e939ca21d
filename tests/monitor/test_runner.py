"""How the app is watched over: what ends the process, and how."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import NoReturn

import pytest

from penstock.monitor.faust import runner
from penstock.monitor.faust.runner import crash_of, doing, run
from penstock.runtime.kafka.watchdog import HUNG
from penstock.runtime.serve import FAILED, Life


class Left(BaseException):
    """The process would have ended."""


def leave(code: int) -> NoReturn:
    raise Left(code)


class App:
    """A Faust app as the runner sees one; what happens to it happens in `start`."""

    def __init__(self, happens: Callable[[App], object] = lambda _: None) -> None:
        self.happens = happens
        self.crash_reason: BaseException | None = None
        self.rebalancing = False
        self.in_recovery = False
        self.should_stop = False
        self.stopped = 0
        self.hangs = False

    async def start(self) -> None:
        self.happens(self)

    async def stop(self) -> None:
        self.stopped += 1
        if self.hangs:
            await asyncio.Event().wait()


def end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def ended(app: App, life: Life | None = None) -> int | None:
    """The code with which the process was left at once; None where it ended in good order."""
    try:
        asyncio.run(run(app, life or Life(), leave=leave))
    except Left as left:
        code: int = left.args[0]
        return code
    return None


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TICK", 0.01)
    monkeypatch.setattr(runner, "PATIENCE", 0.05)
    monkeypatch.setattr(runner, "GRACE", 0.05)


def test_it_stops_in_good_order_when_asked() -> None:
    app = App(lambda _: asyncio.get_running_loop().call_later(0.05, end))
    assert ended(app) is None
    assert app.stopped == 1


def test_what_was_asked_to_end_before_is_not_started() -> None:
    life, app = Life(), App(lambda _: pytest.fail("it was started"))
    life.stop.set()
    assert ended(app, life) is None


def test_who_cannot_stop_is_left_at_once_and_lost_nothing() -> None:
    app = App(lambda _: asyncio.get_running_loop().call_later(0.05, end))
    app.hangs = True
    assert ended(app) == 0


def fails(_: App) -> None:
    raise RuntimeError("no broker")


def crashes(app: App) -> None:
    app.crash_reason = RuntimeError("a bug")


def stops(app: App) -> None:
    app.should_stop = True


@pytest.mark.parametrize("happens", [fails, crashes, stops])
def test_a_crash_ends_the_process_at_once(happens: Callable[[App], object]) -> None:
    app = App(happens)
    assert (ended(app), app.stopped) == (FAILED, 0), "to stop a crashed app hangs"


def rebalances(app: App) -> None:
    app.rebalancing = True


def restores(app: App) -> None:
    app.in_recovery = True


@pytest.mark.parametrize("happens", [rebalances, restores])
def test_what_should_pass_and_does_not_ends_the_process(happens: Callable[[App], object]) -> None:
    assert ended(App(happens)) == HUNG


def test_a_start_that_does_not_end_ends_the_process() -> None:
    class Stuck(App):
        async def start(self) -> None:
            await asyncio.Event().wait()

    assert ended(Stuck()) == HUNG


def test_what_it_is_busy_with() -> None:
    async def look() -> None:
        app, starting = App(), asyncio.get_running_loop().create_future()
        assert doing(app, starting) == "starting"
        starting.set_result(None)
        assert doing(app, starting) is None
        assert crash_of(app, starting) is None
        app.in_recovery = True
        assert doing(app, starting) == "restoring"
        app.rebalancing = True
        assert doing(app, starting) == "rebalancing"

    asyncio.run(look())
