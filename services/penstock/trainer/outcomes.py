"""What `P.outcomes` holds of a pipeline, as columns to learn from.

The log is read once and kept: the next training reads on where the last one ended. A job is still a function
of its decision alone, since each row remembers its offset and what lies beyond the decision's ranges is not
in it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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


@dataclass(slots=True)
class _Columns:
    """Rows of one partition as they were read."""

    next: int = 0
    offsets: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    labels: list[float] = field(default_factory=list)
    names: list[tuple[str, ...]] = field(default_factory=list)
    features: list[bytes] = field(default_factory=list)


class Outcomes:
    """The outcomes of one pipeline, read as far as they were asked for."""

    def __init__(self, broker: Broker, codec: Codec) -> None:
        self._broker = broker
        self._codec = codec
        self._columns: defaultdict[TopicPartition, _Columns] = defaultdict(_Columns)

    def read(self, ranges: Iterable[Range]) -> None:
        """Read on to the ends of these ranges.

        Raises:
            Unavailable: the broker is away.
        """
        wanted = {
            TopicPartition(each.topic, each.partition): (
                max(each.start, self._columns[TopicPartition(each.topic, each.partition)].next),
                each.end,
            )
            for each in ranges
        }
        for records in read_range(self._broker, wanted):
            for record in records:
                self._take(record)
        for where, (start, end) in wanted.items():
            self._columns[where].next = max(start, end)

    def rows(self, ranges: Sequence[Range], names: Sequence[str], *, since: int | None, cut: int) -> Rows:
        """What there is to learn from: one row an id, with the last label that was in time.

        Args:
            ranges: that were read.
            names: of the features, in the order of the columns.
            since: event time of the oldest rows; None for all.
            cut: event time where they end.
        """
        found: dict[str, tuple[int, str, float, tuple[str, ...], bytes]] = {}
        for each in ranges:
            columns = self._columns[TopicPartition(each.topic, each.partition)]
            for place, offset in enumerate(columns.offsets):
                time = columns.times[place]
                if each.start <= offset < each.end and time < cut and (since is None or time >= since):
                    name = columns.ids[place]
                    found[name] = (
                        time,
                        name,
                        columns.labels[place],
                        columns.names[place],
                        columns.features[place],
                    )
        ordered = sorted(found.values(), key=lambda row: row[:2])
        matrix = _matrix([row[3] for row in ordered], [row[4] for row in ordered], tuple(names))
        digest = hashlib.sha256()
        for time, name, label, _, _ in ordered:
            digest.update(f"{time}/{name}/{label!r}\n".encode())
        digest.update(matrix.tobytes())
        return Rows(
            times=np.array([row[0] for row in ordered], dtype=np.int64),
            labels=np.array([row[2] for row in ordered], dtype=np.float64),
            matrix=matrix,
            content=digest.hexdigest(),
        )

    @property
    def too_large(self) -> bool:
        """Whether it is more than should be kept."""
        width = sum(len(each) for columns in self._columns.values() for each in columns.features)
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
            columns = self._columns[TopicPartition(record.topic, record.partition)]
            columns.offsets.append(record.offset)
            columns.ids.append(outcome.id)
            columns.times.append(outcome.time)
            columns.labels.append(outcome.label)
            columns.names.append(decoded.rows.names)
            columns.features.append(decoded.rows.features_of(payload))


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
