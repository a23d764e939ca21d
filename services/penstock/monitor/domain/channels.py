"""One feature's statistics: ADWIN says that they have changed, the reference whether that is worth a word.

Values are in spreads of the reference from its mean. ADWIN keeps a window of them and drops its older part
where the two parts have different means. The window begins with a stretch of the reference, so that the first
row blocks are compared with that. A feature is warned of once, and again only after it was back within the
reference's spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from penstock.monitor.domain.adwin import Adwin

STATISTICS: Final = ("mean", "square")
_REFERENCE = (
    200  # row blocks of the reference that a window begins with: 10,000 rows, as it was measured with
)
_NEWEST = 0.125  # share of the newest row block in what counts as recent: the last eight or so
_AWAY = 1.0  # spreads of the reference; within it there is nothing to warn of
_BACK = 0.5  # well within it: so that noise around its edge is neither over nor new


class Value(NamedTuple):
    """The statistics of a row block."""

    row: int
    """ordinal of the row block"""
    mean: float
    square: float


class Change(NamedTuple):
    """A feature went away from where it was, or came back."""

    row: int
    away: bool
    statistic: str
    before: float
    """mean of the window before the change"""
    after: float
    """what is recent now"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """What is known of one feature.

    Args:
        mean: ADWIN's state on the row-block means.
        square: the same on the mean squares.
        recent: of both, the mean that counts the newest row blocks most.
        warned: the statistic that was warned of; None where nothing is.
    """

    mean: bytes
    square: bytes
    recent: tuple[float, float] = (0.0, 0.0)
    warned: str | None = None


def begun(delta: float) -> Channels:
    """Channels that have seen the reference alone: mean 0, spread 1."""
    window = Adwin(delta=delta)
    for number in range(_REFERENCE):
        window.update(1.0 if number % 2 else -1.0)
    return Channels(mean=window.dump(), square=window.dump())


def followed(channels: Channels, values: Sequence[Value], delta: float) -> tuple[Channels, list[Change]]:
    """The channels after more row blocks, and what changed.

    Args:
        channels: what is known; nothing of it is changed.
        values: of the row blocks that had a value of this feature, in order.
        delta: significance of each channel.

    >>> channels, changes = followed(begun(0.002), [Value(row, 4.0, 0.1) for row in range(30)], 0.002)
    >>> [(change.row, change.away, change.statistic) for change in changes]
    [(7, True, 'mean')]
    """
    windows = Adwin.load(channels.mean, delta=delta), Adwin.load(channels.square, delta=delta)
    update_mean, update_square = windows[0].update, windows[1].update
    recent_mean, recent_square = channels.recent
    warned = channels.warned
    changes: list[Change] = []
    for number, (row, mean, square) in enumerate(values):
        recent_mean += (mean - recent_mean) * _NEWEST
        recent_square += (square - recent_square) * _NEWEST
        changed = update_mean(mean), update_square(square)
        if warned is None and True not in changed:
            continue
        recent = recent_mean, recent_square
        if warned is None:
            which = next((place for place in (0, 1) if changed[place] and abs(recent[place]) > _AWAY), None)
            if which is not None:
                warned = STATISTICS[which]
                before = _mean_before(channels, which, values[:number], delta)
                changes.append(Change(row, away=True, statistic=warned, before=before, after=recent[which]))
            continue
        which = STATISTICS.index(warned)
        if abs(recent[which]) <= _BACK:
            level = windows[which].mean
            changes.append(Change(row, away=False, statistic=warned, before=level, after=recent[which]))
            warned = None
    after = Channels(
        mean=windows[0].dump(),
        square=windows[1].dump(),
        recent=(recent_mean, recent_square),
        warned=warned,
    )
    return after, changes


def _mean_before(channels: Channels, which: int, values: Sequence[Value], delta: float) -> float:
    """The mean of a window before the value that changed it: taken once an episode, so it is made again."""
    window = Adwin.load((channels.mean, channels.square)[which], delta=delta)
    for value in values:
        window.update((value.mean, value.square)[which])
    return window.mean
