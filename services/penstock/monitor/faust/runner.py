"""How the Faust app lives: not `faust worker`, which opens a port to all the world, but started and watched.

A process that is not well ends, and at once: Faust hangs when it is to stop after a crash, and whatever it
held is in the log. Its supervisor starts the next one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from penstock.runtime import logs
from penstock.runtime.kafka.watchdog import HUNG, Watchdog
from penstock.runtime.serve import FAILED, Life

TICK: Final = 0.25
"""Seconds between two looks at the app."""
PATIENCE: Final = 60.0
"""Seconds for a start, a rebalance or a restore; those that were seen to hang do so for ever."""
HEARTBEAT: Final = 30.0
"""Seconds without a look: then it is the event loop itself that hangs."""
GRACE: Final = 5.0
"""Seconds to stop in; the supervisor gives ten."""


@dataclass(slots=True)
class Standstill:
    """Notices what should pass, and does not.

    >>> standstill = Standstill(patience=60.0)
    >>> standstill.look("restoring", now=0.0), standstill.look("restoring", now=59.0)
    (False, False)
    >>> standstill.look(None, now=60.0), standstill.look("rebalancing", now=70.0)
    (False, False)
    >>> standstill.look("rebalancing", now=131.0)
    True
    """

    patience: float
    _since: float | None = None

    def look(self, doing: str | None, *, now: float) -> bool:
        """Whether something has been going on for too long; None is when all is well."""
        if doing is None:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since > self.patience


def doing(app: Any, starting: asyncio.Future[Any]) -> str | None:
    """What the app is busy with that ought to pass."""
    if not starting.done():
        return "starting"
    if app.rebalancing:
        return "rebalancing"
    return "restoring" if app.in_recovery else None


def crash_of(app: Any, starting: asyncio.Future[Any]) -> BaseException | None:
    """Why the app is no longer alive, if it is not."""
    if app.crash_reason is not None:
        reason: BaseException = app.crash_reason
        return reason
    if starting.done() and (error := starting.exception()) is not None:
        return error
    return RuntimeError("Faust has stopped by itself") if app.should_stop else None


async def run(app: Any, life: Life, *, leave: Callable[[int], NoReturn]) -> None:
    """Start the app, and watch over it until it is to end.

    Args:
        app: a Faust app.
        life: whether to go on.
        leave: ends the process at once.
    """
    log, began = logs.get(), time.monotonic()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    if life.stop.is_set():
        return
    standstill, ready = Standstill(PATIENCE), False
    heart = Watchdog(overdue=lambda _: _hung(leave))
    starting = asyncio.ensure_future(app.start())
    while not ending.is_set():
        if (crash := crash_of(app, starting)) is not None:
            log.critical("crashed", exc_info=crash)
            leave(FAILED)
        busy = doing(app, starting)
        if standstill.look(busy, now=time.monotonic()):
            log.critical("stuck", doing=busy, seconds=PATIENCE)
            leave(HUNG)
        if busy is None and not ready:
            ready = True
            log.info("ready", seconds=round(time.monotonic() - began, 1))
        with heart.expects("the event loop", seconds=HEARTBEAT):
            await _until(ending, TICK)
    heart.close()
    await _stop(app, starting, leave)


async def _stop(app: Any, starting: asyncio.Future[Any], leave: Callable[[int], NoReturn]) -> None:
    """Commit what is processed. Should that take long, nothing is lost: it is only seen again."""
    try:
        if not starting.done():
            raise TimeoutError  # noqa: TRY301 - Faust cannot stop what has not started
        await asyncio.wait_for(app.stop(), GRACE)
    except TimeoutError:
        logs.get().info("stopped", code=0, committed=False)
        leave(0)


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def _hung(leave: Callable[[int], NoReturn]) -> None:
    logs.get().critical("stuck", doing="running its event loop", seconds=HEARTBEAT)
    leave(HUNG)


def leave(code: int) -> NoReturn:
    """End here and now, with what was logged."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)
