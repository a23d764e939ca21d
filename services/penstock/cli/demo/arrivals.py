"""Which records have arrived: how far a stream that arrives out of order is there without a hole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

ALL: Final = 2**62
"""After every event time."""


class Arrivals:
    """Follows a stream by its keys.

    Args:
        times: event time of each record, ascending.
        keys: of the records.

    >>> arrivals = Arrivals([10, 20, 20, 30], [b"a", b"b", b"c", b"d"])
    >>> arrivals.came(b"b"), arrivals.reached
    (False, 9)
    >>> arrivals.came(b"a"), arrivals.reached
    (True, 19)
    >>> [arrivals.came(key) for key in (b"d", b"c", b"c", b"unknown")], arrivals.reached == ALL
    ([False, True, False, False], True)
    """

    def __init__(self, times: Sequence[int], keys: Sequence[bytes]) -> None:
        self._times = times
        self._places = {key: place for place, key in enumerate(keys)}
        self._here = bytearray(len(times))
        self._next = 0

    @property
    def reached(self) -> int:
        """The event time up to which everything is there."""
        return self._times[self._next] - 1 if self._next < len(self._times) else ALL

    def came(self, key: bytes | None) -> bool:
        """A record is there; whether `reached` may have moved."""
        place = None if key is None else self._places.get(key)
        if place is None:
            return False
        self._here[place] = 1
        before = self._next
        while self._next < len(self._here) and self._here[self._next]:
            self._next += 1
        return self._next != before
