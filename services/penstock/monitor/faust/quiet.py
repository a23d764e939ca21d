"""Faust's libraries speak too much: without a pause between attempts they write 98,000 lines in an outage of
five seconds. Of each logger and level a line a second is enough, and fewer where it goes on.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARIES: Final = ("aiokafka", "asyncio", "faust", "mode")
PAUSE: Final = 1.0
"""Seconds in which a logger's lines of one level are one; doubled with each line of the same spell."""
LONGEST: Final = 60.0


class Pauses(logging.Filter):
    """Lets a line of a library pass when its logger has paused on that level.

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
        self._spells: dict[tuple[str, int], _Spell] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in LIBRARIES:
            return True
        now = self._now()
        spell = self._spells.setdefault((record.name, record.levelno), _Spell(until=now))
        if now < spell.until:
            spell.left_out += 1
            return False
        if spell.left_out:
            record.msg, record.args = f"{record.getMessage()} ({spell.left_out} lines left out)", ()
        over = not spell.left_out  # nobody spoke in the last pause
        spell.pause = PAUSE if over else min(2 * spell.pause, LONGEST)
        spell.until, spell.left_out = now + spell.pause, 0
        return True


@dataclass(slots=True, kw_only=True)
class _Spell:
    """One logger going on about something."""

    until: float
    pause: float = PAUSE
    left_out: int = 0


def hush() -> None:
    """Let the libraries' warnings pass the handlers there are, seldom; call it after `logs.configure`."""
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(Pauses())
