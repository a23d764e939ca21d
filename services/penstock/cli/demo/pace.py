"""How far the producers may go: a stretch of event time ahead of what the system has judged.

Replayed as fast as the machine can, a day takes less time than one label needs to come home, so that what
the system learns, and when, would depend on the machine's load. Held to the pace, it depends on the data
alone.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Stopped(Exception):  # noqa: N818 - says what is so
    """The replay is being given up."""


class Pace:
    """The instant up to which records may be sent; moved by whoever watches the system, awaited by producers.

    Args:
        start: event time in milliseconds up to which records may be sent before anything is judged.
        ahead: milliseconds of event time by which records may be ahead of what is judged.
    """

    def __init__(self, *, start: int, ahead: int) -> None:
        self._limit = start
        self._ahead = ahead
        self._stopped = False
        self._moved = threading.Condition()

    @property
    def limit(self) -> int:
        with self._moved:
            return self._limit

    def judged(self, watermark: int) -> None:
        """The system has judged everything up to here; never moves back."""
        with self._moved:
            self._limit = max(self._limit, watermark + self._ahead)
            self._moved.notify_all()

    def stop(self) -> None:
        """Let everyone who waits go, with `Stopped`."""
        with self._moved:
            self._stopped = True
            self._moved.notify_all()

    def allowed(self, times: Sequence[int], begin: int, most: int) -> int:
        """Wait until the record at `begin` may be sent; the end of what may be sent, at most `most` records.

        Args:
            times: event times in ascending order.
            begin: index of the next record.
            most: how many to send at once.

        Raises:
            Stopped: the replay is given up.
        """
        with self._moved:
            self._moved.wait_for(lambda: self._stopped or times[begin] <= self._limit)
            if self._stopped:
                raise Stopped
            return bisect_right(times, self._limit, begin, min(begin + most, len(times)))
