"""How far the producers may go: a stretch of event time ahead of what the system has judged.

Replayed as fast as the machine can, a day takes less time than one label needs to come home, so that what
the system learns, and when, would depend on the machine's load. Held to this pace it depends on the data
alone, whoever is killed meanwhile:

- Nothing is sent that is more than a day ahead of the governor's clock, and that clock stands for as long as
  a training has neither candidate nor failure, or inference has not yet reported the route that was decided.
- Labels are at most a day ahead of the predictions that are in the log: with inference down the labels alone
  would else carry event time on, and its predictions would come too late to be judged.
- Events are at most half a day ahead of the labels that are in the log: with labels held up anywhere, the
  predictions alone would else carry event time on past the horizon of labels that have not come.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

AHEAD: Final = 86_400_000
"""Milliseconds of event time that producers may be ahead of what is judged."""
BEHIND: Final = 43_200_000
"""Milliseconds of event time by which labels in the log may be behind the events that are sent. Of a horizon
of 36 hours a day is left for their own way, and none of these labels takes as long."""


class Stopped(Exception):  # noqa: N818 - says what is so
    """The replay is being given up."""


class Pace:
    """The instants up to which events and labels may be sent; moved by whoever watches, awaited by producers.

    Args:
        start: event time in milliseconds up to which records may be sent before anything is judged.
        first: event time up to which events may be sent before anything runs.
        needed: from an instant that is judged to the event time that has to be sent before more can be, where
            the data has a gap.
        until: nothing with this event time or a later one is sent before `open`; None for no such instant.
    """

    def __init__(
        self,
        *,
        start: int,
        first: int = 0,
        needed: Callable[[int], int] = int,
        until: int | None = None,
    ) -> None:
        self._moved = threading.Condition()
        self._stopped = False
        self._needed = needed
        self._first = first
        self._judged = start
        self._predicted = self._labelled = 0
        self._until = until
        self.events = Limit(self._moved, self._check, self._events)
        self.labels = Limit(self._moved, self._check, self._labels)

    def judged(self, now: int) -> None:
        """The system has judged everything up to here and waits for nothing; never moves back."""
        with self._moved:
            self._judged = max(self._judged, now + AHEAD, self._needed(now))
            self._moved.notify_all()

    def predicted(self, reached: int) -> None:
        """All events up to here have their predictions in the log."""
        with self._moved:
            self._predicted = max(self._predicted, reached)
            self._moved.notify_all()

    def labelled(self, reached: int) -> None:
        """All labels up to here are in the log."""
        with self._moved:
            self._labelled = max(self._labelled, reached)
            self._moved.notify_all()

    def open(self) -> None:
        """Go on past `until`."""
        with self._moved:
            self._until = None
            self._moved.notify_all()

    def stop(self) -> None:
        """Let everyone who waits go, with `Stopped`."""
        with self._moved:
            self._stopped = True
            self._moved.notify_all()

    def _check(self) -> None:
        if self._stopped:
            raise Stopped

    def _events(self) -> int:
        return self._closed(max(self._first, min(self._judged, self._labelled + BEHIND)))

    def _labels(self) -> int:
        return self._closed(min(self._judged, self._predicted + AHEAD))

    def _closed(self, limit: int) -> int:
        return limit if self._until is None else min(limit, self._until - 1)


class Limit:
    """How far one producer may go."""

    def __init__(self, moved: threading.Condition, check: Callable[[], None], now: Callable[[], int]) -> None:
        self._moved = moved
        self._check = check
        self._now = now

    @property
    def time(self) -> int:
        """Event time in milliseconds up to which it may send."""
        with self._moved:
            return self._now()

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
            while True:
                self._check()
                limit = self._now()
                if times[begin] <= limit:
                    return bisect_right(times, limit, begin, min(begin + most, len(times)))
                self._moved.wait()
