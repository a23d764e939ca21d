"""ADWIN as river has it, with a state that can be written down.

`river.drift.ADWIN` costs a second and 175 MB to import, and after a change it throws away the newer part of
the window too, which says how things are now. So this is the class beneath it, which keeps that part, as the
paper has it. What it gives as its state are its numbers in a row, in river's own binary form: no pickle, and
nothing in it is run. A contract test holds it to `river.drift.ADWIN` up to the first change, and to its form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

CLOCK: Final = 1
"""A look after every value: at river's 32, and row blocks as values, a warning could be 1,600 rows late."""
_BUCKETS, _SHORTEST, _GRACE = 5, 5, 10  # river's defaults


class Adwin:
    """A window of values that is cut where its mean has changed.

    >>> adwin = Adwin(delta=0.002)
    >>> [place for place in range(100) if adwin.update(0.0 if place < 40 else 1.0)]
    [63, 67, 78]
    >>> adwin.mean > 0.5, Adwin.load(adwin.dump(), delta=0.002).mean == adwin.mean
    (True, True)
    """

    def __init__(self, *, delta: float) -> None:
        from river._river_rust.drift import AdaptiveWindowing  # noqa: PLC0415 - only where features are watched

        self._window = AdaptiveWindowing(delta, CLOCK, _BUCKETS, _SHORTEST, _GRACE)
        self.update: Callable[[float], bool] = self._window.update
        """Take a value in; whether the mean has changed, and the older part was dropped."""

    @property
    def mean(self) -> float:
        """Of the window; 0 while it is empty."""
        width = self._window.get_width()
        return self._window.get_total() / width if width else 0.0

    def dump(self) -> bytes:
        return self._window.__getstate__()

    @classmethod
    def load(cls, state: bytes, *, delta: float) -> Adwin:
        adwin = cls(delta=delta)
        adwin._window.__setstate__(state)
        return adwin
