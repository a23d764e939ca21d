"""Faust's libraries speak too much: without a pause between attempts they write 98,000 lines in an outage of
five seconds. Of each logger and level a line a second is enough.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARIES: Final = ("aiokafka", "asyncio", "faust", "mode")
PAUSE: Final = 1.0
"""Seconds in which a logger's lines of one level are one."""


class Pauses(logging.Filter):
    """Lets a line of a library pass when its logger has been silent on that level for a second.

    It belongs on a handler: a filter on a logger does not see what comes from the loggers below it. The next
    line that passes says how many were left out.

    >>> clock = iter([0.0, 0.1, 0.2, 1.5])
    >>> pauses = Pauses(now=lambda: next(clock))
    >>> lines = [logging.makeLogRecord({"name": "aiokafka.conn", "msg": "refused"}) for _ in range(4)]
    >>> [line.getMessage() for line in lines if pauses.filter(line)]
    ['refused', 'refused (2 lines left out)']
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._next: dict[tuple[str, int], float] = {}
        self._left_out: dict[tuple[str, int], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in LIBRARIES:
            return True
        kind, now = (record.name, record.levelno), self._now()
        if now < self._next.get(kind, now):
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return False
        self._next[kind] = now + PAUSE
        if left_out := self._left_out.pop(kind, 0):
            record.msg, record.args = f"{record.getMessage()} ({left_out} lines left out)", ()
        return True


def hush() -> None:
    """Let the libraries' warnings pass the handlers there are, seldom; call it after `logs.configure`."""
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(Pauses())
