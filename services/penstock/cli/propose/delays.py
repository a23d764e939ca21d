"""How late labels come: matched with their events, in bins, and the horizon that lets nearly all in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from penstock.cli.sampled.telling import about

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
NICE: Final = (
    *(SECOND * each for each in (1, 2, 5, 10, 15, 30)),
    *(MINUTE * each for each in (1, 2, 5, 10, 15, 30)),
    *(HOUR * each for each in (1, 2, 3, 4, 6, 8, 12, 18, 24, 36)),
    *(DAY * each for each in (2, 3, 4, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365, 730)),
)
"""Durations that people think in, milliseconds."""
_TAIL: Final = 0.99
_ENOUGH: Final = 100
"""Delays from which on the 99th percentile means something."""
_BINS: Final = 14
_FEWEST: Final = 4
"""Bins with something in them below which a scale of nice durations says too little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """Delays of the labels that found their event in a sample.

    Args:
        labels: all that were looked at.
        found: how many found their event.
        early: how many of these came before their event's own time.
        delays: of the others, milliseconds, ascending; where there are enough, only of events so old that
            their late labels had time to come, or the youngest would make all labels seem quick.
        longest: what a delay can have been at most, given when the sample's events and labels are from.
    """

    labels: int
    found: int
    early: int
    delays: NDArray[np.int64]
    longest: int

    def quantile(self, share: float) -> float:
        """The delay within which this share of the labels came.

        Raises:
            IndexError: there is none.
        """
        return float(np.quantile(self.delays, share))

    @property
    def cut_short(self) -> bool:
        """Whether longer delays may be hidden: the sample reaches not much further back than those it has."""
        return len(self.delays) > 0 and 2 * self.quantile(_TAIL) > self.longest


def delays_of(
    ids: Sequence[str],
    times: Sequence[int],
    label_ids: Sequence[str],
    label_times: Sequence[int],
) -> Delays:
    """Match labels with the first event of their id, and each id's first label alone: later ones correct it.

    >>> found = delays_of(["a", "b"], [0, 0], ["a", "a", "x"], [3_600_000, 7_200_000, 5])
    >>> found.delays.tolist(), found.labels, found.longest
    ([3600000], 2, 7200000)
    """
    known: dict[str, int] = {}
    for name, time in zip(ids, times, strict=True):
        known[name] = min(time, known.get(name, time))
    first: dict[str, int] = {}
    for name, time in zip(label_ids, label_times, strict=True):
        first[name] = min(time, first.get(name, time))
    last = max(label_times, default=0)
    met = [(time - known[name], last - known[name]) for name, time in first.items() if name in known]
    gaps, ages = np.array(met, dtype=np.int64).reshape(-1, 2).T
    late = gaps >= 0
    return Delays(
        labels=len(first),
        found=len(gaps),
        early=int((~late).sum()),
        delays=np.sort(_of_old(gaps[late], ages[late])),
        longest=max(last - min(times, default=0), 0),
    )


def _of_old(gaps: NDArray[np.int64], ages: NDArray[np.int64]) -> NDArray[np.int64]:
    """The delays of events that are twice as old as nearly all delays are long."""
    if not len(gaps):
        return gaps
    old = gaps[ages >= 2 * np.quantile(gaps, _TAIL)]
    return old if len(old) >= _ENOUGH else gaps


def horizon_of(delays: Delays) -> int | None:
    """The 99th percentile, rounded up to a duration people think in; None where no label found its event.

    >>> horizon_of(delays_of(["a"], [0], ["a"], [29 * DAY])) == 30 * DAY
    True
    """
    if not len(delays.delays):
        return None
    tail = delays.quantile(_TAIL)
    return next((nice for nice in NICE if nice >= tail), int(-(-tail // (365 * DAY)) * 365 * DAY))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Delays from `start` up to, not including, `end`, milliseconds."""

    start: int
    end: int
    count: int

    @property
    def label(self) -> str:
        return f"< {about(self.end)}" if self.start == 0 else f"{about(self.start)} – {about(self.end)}"


def bins_of(delays: NDArray[np.int64]) -> list[Bin]:
    """Delays in bins between nice durations; between equal ones where nearly all would be in two or three.

    >>> [(each.label, each.count) for each in bins_of(np.array([0, 500, 900, 1_200, 3_000, 7_000]))]
    [('< 1s', 3), ('1s – 2s', 1), ('2s – 5s', 1), ('5s – 10s', 1)]
    """
    if not len(delays):
        return []
    least, most = int(delays.min()), int(delays.max())
    inside = [nice for nice in NICE if least < nice <= most]
    below = max((nice for nice in NICE if nice <= least), default=0)
    above = next((nice for nice in NICE if nice > most), most + 1)
    edges = [below, *inside, above]
    while len(edges) > _BINS + 1:
        # Two neighbours become one where they hold least.
        counts = np.histogram(delays, edges)[0]
        at = int(np.argmin(counts[:-1] + counts[1:]))
        del edges[at + 1]
    counts = np.histogram(delays, edges)[0]
    if (counts > 0).sum() < _FEWEST and most - least >= _BINS:
        edges = np.linspace(least, most + 1, _BINS + 1).astype(np.int64).tolist()
        counts = np.histogram(delays, edges)[0]
    pairs = zip(edges[:-1], edges[1:], counts.tolist(), strict=True)
    return [Bin(start=start, end=end, count=count) for start, end, count in pairs]
