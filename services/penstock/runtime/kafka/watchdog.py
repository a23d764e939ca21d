"""Calls that ought to end by a time, and what happens when one does not."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from penstock.runtime.kafka.clients import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HUNG = 70
"""Exit code of a process that ended itself because a call into librdkafka did not return (EX_SOFTWARE)."""


def _exit(what: str) -> None:
    log.critical("%s hangs in librdkafka: this process ends, the next one goes on from the log", what)
    os._exit(HUNG)


class Watchdog:
    """Ends the process when a call outlives its time: what hangs in C can neither be interrupted nor trusted.

    librdkafka's transactional calls take a timeout, and yet some wait for ever when the group's coordinator
    leaves the cluster at the wrong moment (librdkafka issue 5511). Nothing is lost by exiting: the outcome of
    the transaction is unknown already, and whoever takes the slot next aborts what is open.

    Args:
        overdue: what to do then; only tests give another.
        look: seconds between two looks.

    >>> dog = Watchdog()
    >>> with dog.expects("committing", seconds=30.0):
    ...     pass
    >>> dog.close()
    """

    def __init__(self, overdue: Callable[[str], None] = _exit, *, look: float = 1.0) -> None:
        self._overdue = overdue
        self._look = look
        self._expected: tuple[str, float] | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    @contextmanager
    def expects(self, what: str, *, seconds: float) -> Iterator[None]:
        """The block ends within so many seconds, or the process does."""
        self._expected = (what, time.monotonic() + seconds)
        try:
            yield
        finally:
            self._expected = None

    def close(self) -> None:
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(self._look):
            expected = self._expected  # read once: the other thread may be done with it any time
            if expected is not None and time.monotonic() > expected[1]:
                self._overdue(expected[0])
                return
