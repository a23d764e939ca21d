"""The events of the history: what is sent, when, and what the file says of each row's label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from penstock.cli.cells import of_events, of_labels, plain
from penstock.cli.exits import Exit, Failure
from penstock.cli.output import counted
from penstock.cli.recordfile import Place, columns, placed
from penstock.kernel.errors import Invalid
from penstock.kernel.kinds import TimePart
from penstock.kernel.mistakes import nearest
from penstock.kernel.times import event_time_ms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from penstock.cli.cells import Reader
    from penstock.kernel.pipeline import Pipeline

_SECOND: Final = 1000


class Row(NamedTuple):
    """An event of the history.

    Args:
        id: that labels meet it by.
        time: its event time, milliseconds.
        payload: what is sent.
        label: the value in the label column; None where there is none.
        delay: the value in the delay column.
        place: in the file.
    """

    id: str
    time: int
    payload: bytes
    label: object
    delay: object
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All events of a file, in its order.

    Args:
        rows: numbered from 0.
        notes: what a reader of the result has to know about how the file was read.
    """

    rows: Sequence[Row]
    notes: tuple[str, ...] = ()


def read_history(
    path: Path, pipeline: Pipeline, *, label_column: str | None = None, delay_column: str | None = None
) -> History:
    """Read the events.

    Without the column of ids the row's number is its id; without the column of times row n is second n.

    Raises:
        Failure: the file cannot be read, a row has no time, or a column that is needed is not there.
    """
    names = set(columns(path) or ())
    reader = _RowReader(pipeline, names, label_column, delay_column)
    seen: set[str] = set()
    rows: list[Row] = []
    for place, record in placed(path, reader.cells):
        seen.update(record)
        rows.append(reader.row(len(rows), place, record))
    if not rows:
        raise Failure(f"{path}: no events in it", Exit.INVALID)
    for option, column in (("--label-column", label_column), ("--delay-column", delay_column)):
        if column is not None and column not in seen:
            raise Failure(f"{option}: {path} has no column {column!r}{_hint(column, seen)}", Exit.INVALID)
    return History(rows=rows, notes=tuple(_notes(path, pipeline, names, seen, rows)))


class _RowReader:
    """Makes rows of records.

    Args:
        names: of the file's columns.
    """

    def __init__(
        self, pipeline: Pipeline, names: set[str], label_column: str | None, delay_column: str | None
    ) -> None:
        events = pipeline.events
        self._id = events.id if events.id in names else None
        self._time = events.time if events.time in names else None
        self._names = events.id, events.time
        self._label, self._delay = label_column, delay_column
        self._fields = {feature.field for feature in pipeline.features} - {events.id, events.time}
        if label_column in self._fields:
            message = f"--label-column: {label_column!r} is a feature: the model would be shown the answer"
            raise Failure(message, Exit.INVALID)
        self.cells: dict[str, Reader] = of_events(pipeline)
        if label_column is not None:
            self.cells[label_column] = of_labels(pipeline)[pipeline.labels.value]
        if delay_column is not None:
            self.cells[delay_column] = plain

    def row(self, number: int, place: Place, record: Mapping[str, object]) -> Row:
        name = str(number) if self._id is None else id_of(record, self._id, place)
        time = number * _SECOND if self._time is None else time_of(record, self._time, place)
        fields = {field: record[field] for field in self._fields if field in record}
        try:
            payload = orjson.dumps({self._names[0]: name, self._names[1]: time, **fields})
        except TypeError as error:
            raise Failure(f"{place.at()}: a value is none of JSON: {error}", Exit.INVALID) from error
        label = None if self._label is None else record.get(self._label)
        delay = None if self._delay is None else record.get(self._delay)
        return Row(name, time, payload, label, delay, place)


def id_of(record: Mapping[str, object], field: str, place: Place) -> str:
    """The id of a record: text, or a whole number as its digits.

    Raises:
        Failure: it has none.
    """
    value = record.get(field)
    if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
        return str(value)
    what = "is missing" if value is None or value == "" else "is neither text nor a whole number"
    raise Failure(f"{place.at(field)}: id {field!r} {what}", Exit.INVALID)


def time_of(record: Mapping[str, object], field: str, place: Place) -> int:
    """A time of a record in milliseconds.

    Raises:
        Failure: it has none.
    """
    value = record.get(field)
    if value is None:
        raise Failure(f"{place.at(field)}: time {field!r} is missing", Exit.INVALID)
    try:
        return event_time_ms(value, field=field)
    except Invalid as why:
        raise Failure(f"{place.at(field)}: {why}", Exit.INVALID) from why


def _notes(path: Path, pipeline: Pipeline, names: set[str], seen: set[str], rows: Sequence[Row]) -> list[str]:
    """What was made of what is not there.

    Raises:
        Failure: no feature is.
    """
    events = pipeline.events
    notes = []
    wanted = {
        feature.field
        for feature in pipeline.features
        if not (isinstance(feature.kind, TimePart) and feature.kind.at_event_time)
    }
    absent = sorted(wanted - seen)
    if wanted and len(absent) == len(wanted):
        message = f"{path}: no column of a feature in it ({', '.join(absent[:5])}): is there a header line?"
        raise Failure(message, Exit.INVALID)
    if events.id not in names:
        notes.append(f"no column {events.id!r}: the id of a row is its number")
    if events.time not in names:
        notes.append(f"no column {events.time!r}: row n is second n")
    if absent:
        notes.append(f"missing in every row: {', '.join(absent)}")
    if repeated := len(rows) - len({row.id for row in rows}):
        notes.append(f"{counted(repeated, 'row')} with the id of another: only the first of an id counts")
    return notes


def _hint(column: str, seen: set[str]) -> str:
    meant = nearest(column, seen)
    return f" (did you mean {meant!r}?)" if meant else ""
