"""What `P.outcomes` holds of a pipeline, as columns to learn from.

The log is read once and kept: the next training reads on where the last one ended. A job is still a function
of its decision alone, since each row remembers its offset and what lies beyond the decision's ranges is not
in it.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.contracts.records import Origin, Outcome, OutcomeKind, Range
from penstock.kernel.errors import Invalid
from penstock.runtime.broker import Broker, Record, TopicPartition
from penstock.runtime.fold import read_range

if TYPE_CHECKING:
    from penstock.runtime.codec import Codec

_LABELLED = (OutcomeKind.LABELLED, OutcomeKind.REVISED)
LARGEST_KEPT = 2_000_000
"""Values of features that are kept for the next training (16 MB); beyond that the log is read anew."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Rows to learn from, in order of event time, then id.

    Args:
        times: event times, milliseconds, int64 ``[n]``.
        labels: float64 ``[n]``.
        matrix: float64 ``[n, F]``, NaN = missing.
        content: sha256 of all of it, in hex.
    """

    times: NDArray[np.int64]
    labels: NDArray[np.float64]
    matrix: NDArray[np.float64]
    content: str


class _Row(NamedTuple):
    """A labelled outcome."""

    time: int
    id: str
    offset: int
    label: float
    layout: tuple[str, ...]
    features: bytes


@dataclass(slots=True)
class _Read:
    """Rows of one partition as they were read."""

    next: int = 0
    rows: list[_Row] = field(default_factory=list)


class Outcomes:
    """The outcomes of one pipeline, read as far as they were asked for."""

    def __init__(self, broker: Broker, codec: Codec) -> None:
        self._broker = broker
        self._codec = codec
        self._read: defaultdict[TopicPartition, _Read] = defaultdict(_Read)
        self._last: tuple[tuple[tuple[Range, ...], int], list[_Row]] | None = None

    def read(self, ranges: Iterable[Range]) -> None:
        """Read on to the ends of these ranges.

        Raises:
            Unavailable: the broker is away.
        """
        wanted = {
            TopicPartition(each.topic, each.partition): (
                max(each.start, self._read[TopicPartition(each.topic, each.partition)].next),
                each.end,
            )
            for each in ranges
        }
        for records in read_range(self._broker, wanted):
            for record in records:
                self._take(record)
        for where, (start, end) in wanted.items():
            self._read[where].next = max(start, end)

    def rows(self, ranges: Sequence[Range], names: Sequence[str], *, since: int | None, cut: int) -> Rows:
        """What there is to learn from: one row an id, with the last label that was in time.

        Args:
            ranges: that were read.
            names: of the features, in the order of the columns.
            since: event time of the oldest rows; None for all.
            cut: event time where they end.
        """
        ordered = self._ordered(tuple(ranges), cut)
        if since is not None:
            ordered = ordered[bisect_left(ordered, since, key=lambda row: row.time) :]
        matrix = _matrix([row.layout for row in ordered], [row.features for row in ordered], tuple(names))
        times = np.array([row.time for row in ordered], dtype=np.int64)
        labels = np.array([row.label for row in ordered], dtype=np.float64)
        digest = hashlib.sha256("\n".join([row.id for row in ordered]).encode())
        for part in (times, labels, matrix):
            digest.update(part.tobytes())
        return Rows(times=times, labels=labels, matrix=matrix, content=digest.hexdigest())

    def _ordered(self, ranges: tuple[Range, ...], cut: int) -> list[_Row]:
        """The last row of each id, in order; lanes that are trained together ask for the same."""
        if self._last is None or self._last[0] != (ranges, cut):
            found: dict[str, _Row] = {}
            for each in ranges:
                for row in self._read[TopicPartition(each.topic, each.partition)].rows:
                    if each.start <= row.offset < each.end and row.time < cut:
                        found[row.id] = row
            self._last = (ranges, cut), sorted(found.values(), key=lambda row: (row.time, row.id))
        return self._last[1]

    @property
    def too_large(self) -> bool:
        """Whether it is more than should be kept."""
        width = sum(len(row.features) for read in self._read.values() for row in read.rows)
        return width > 8 * LARGEST_KEPT

    def _take(self, record: Record) -> None:
        payload = record.value or b""
        try:
            decoded = self._codec.decode(payload)
        except Invalid:
            return  # whoever summarises it says so
        outcome = decoded.value
        if (
            isinstance(outcome, Outcome)
            and decoded.rows is not None
            and outcome.kind in _LABELLED
            and outcome.origin is Origin.STREAM
            and outcome.label is not None
        ):
            row = _Row(
                time=outcome.time,
                id=outcome.id,
                offset=record.offset,
                label=outcome.label,
                layout=decoded.rows.names,
                features=decoded.rows.features_of(payload),
            )
            self._read[TopicPartition(record.topic, record.partition)].rows.append(row)


def _matrix(
    layouts: Sequence[tuple[str, ...]], features: Sequence[bytes], names: tuple[str, ...]
) -> NDArray[np.float64]:
    """The rows' features in these columns; what a row was served without is missing."""
    matrix = np.full((len(features), len(names)), np.nan)
    places: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, layout in enumerate(layouts):
        places[layout].append(place)
    for layout, rows in places.items():
        width = len(layout)
        values = np.frombuffer(b"".join(features[row] for row in rows), dtype="<f8").reshape(-1, width)
        for column, name in enumerate(names):
            if name in layout:
                matrix[rows, column] = values[:, layout.index(name)]
    return matrix
