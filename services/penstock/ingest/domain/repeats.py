"""Events that a producer sent again: an id that was taken within a window of event time, or of rows.

Memory is bounded whatever the rate: the ids are kept in two generations, and the older one is let go of when
the younger has grown old, or large, enough. What is seen here is best effort, as a restart begins with an
empty window; what the join sees, keyed by id, is authoritative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from penstock.kernel.arrivals import Window


@dataclass(slots=True)
class Repeats:
    """The ids of events taken in lately.

    What a batch brought is remembered when it is adopted, once its transaction is committed: of one that was
    aborted the same records come again, and are not repeats of themselves.

    Args:
        window: within what an id comes again.

    >>> repeats = Repeats(Window(of="time", size=1000))
    >>> repeats.among(["a", "b", "a"], np.array([0, 500, 1000]))
    array([False, False,  True])
    >>> repeats.adopt()
    >>> repeats.among(["b", "c"], np.array([1600, 1600])) is None
    True
    """

    window: Window
    _young: dict[str, int] = field(default_factory=dict)
    _old: dict[str, int] = field(default_factory=dict)
    _staged: dict[str, int] = field(default_factory=dict)
    _begun: int | None = None
    _rows: int = 0
    """Ever seen: what stands for time where the window is of so many rows."""

    def among(self, ids: Sequence[str], times: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Which events of a batch are repeats, the first of an id being none; None where none is.

        Args:
            ids: of the events, in order.
            times: their own times, milliseconds since 1970, shape (events,).
        """
        if self.window.of == "off":
            return None
        if self.window.of == "time":
            stamps = times.tolist()
        else:
            stamps = list(range(self._rows, self._rows + len(ids)))
            self._rows += len(ids)
        batch = dict(zip(ids, stamps, strict=True))
        known = (self._young, self._old, self._staged)
        if len(batch) == len(ids) and all(batch.keys().isdisjoint(each.keys()) for each in known):
            self._staged = batch if not self._staged else self._staged | batch
            return None
        return self._one_by_one(ids, stamps)

    def adopt(self) -> None:
        """The transaction is committed: what the last batches brought is remembered."""
        if not self._staged:
            return
        self._young |= self._staged
        latest = max(self._staged.values())
        self._begun = min(self._staged.values()) if self._begun is None else self._begun
        self._staged = {}
        if latest - self._begun > self.window.size or len(self._young) >= self.window.generation:
            self._old, self._young, self._begun = self._young, {}, None

    def drop(self) -> None:
        """The transaction was aborted, or nobody knows: its records may come again."""
        self._staged = {}

    def __len__(self) -> int:
        """Ids that are remembered."""
        return len(self._young) + len(self._old)

    def _one_by_one(self, ids: Sequence[str], stamps: Sequence[int]) -> NDArray[np.bool_] | None:
        repeats = np.zeros(len(ids), dtype=np.bool_)
        for place, (name, stamp) in enumerate(zip(ids, stamps, strict=True)):
            before = self._stamp(name)
            if before is not None and abs(stamp - before) <= self.window.size:
                repeats[place] = True
            else:
                self._staged[name] = stamp
        return repeats if repeats.any() else None

    def _stamp(self, name: str) -> int | None:
        """When an id was taken last, in the window's own measure."""
        generations: Sequence[Mapping[str, int]] = (self._staged, self._young, self._old)
        return next((each[name] for each in generations if name in each), None)
