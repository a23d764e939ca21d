"""What a producer's record becomes: a feature row, a label, or a reason why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.contracts.records import FeatureRow, Label, RuleCount
from penstock.ingest.domain.counts import breaches, refusals, rule_counts
from penstock.ingest.domain.repeats import Repeats
from penstock.ingest.domain.veil import hashed_ids, hashed_words
from penstock.kernel.arrivals import DAY
from penstock.kernel.coding import Broken
from penstock.kernel.columns import Values, plain
from penstock.kernel.errors import Invalid
from penstock.kernel.features import FloatArray, vectorise_columns
from penstock.kernel.kinds import Category, Number
from penstock.kernel.labels import make_label
from penstock.kernel.mistakes import show
from penstock.kernel.pipeline import Pipeline
from penstock.kernel.sources import Events
from penstock.kernel.times import event_time_ms, event_times_ms
from penstock.kernel.units import show_duration

_LONGEST_ID = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """A batch of events taken in: the valid rows by columns, in order, and why the others are not.

    Args:
        ids: of the events.
        times: their own times, milliseconds since 1970, shape (valid rows,).
        cleared: indices of features set missing because their value broke a rule.
        flags: rules that the event broke and that only mark it.
        matrix: their features, shape (valid rows, features).
        refused: why a row can never be processed, by its place among the rows given.
        duplicates: events that were taken before, and become nothing.
        rules: those that were broken, by rows that are valid and rows that are not.
    """

    ids: Sequence[str]
    times: NDArray[np.int64]
    cleared: Sequence[tuple[int, ...]]
    flags: Sequence[tuple[str, ...]]
    matrix: FloatArray
    refused: Mapping[int, Invalid]
    duplicates: int = 0
    rules: tuple[RuleCount, ...] = ()

    def heads(self) -> list[FeatureRow]:
        """The rows one by one, without their features."""
        return [
            FeatureRow(id=name, time=time, cleared=cleared, flags=flags)
            for name, time, cleared, flags in zip(
                self.ids, self.times.tolist(), self.cleared, self.flags, strict=True
            )
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A batch of labels taken in.

    Args:
        labels: the valid ones, in order.
        refused: why a row can never be processed, by its place among the rows given.
        rules: those that were broken.
    """

    labels: Sequence[Label]
    refused: Mapping[int, Invalid]
    rules: tuple[RuleCount, ...] = ()


def event_paths(pipeline: Pipeline) -> tuple[str, ...]:
    """The fields that `take_events` reads."""
    source = pipeline.events
    return tuple(dict.fromkeys([source.id, source.time, *(each.field for each in pipeline.features)]))


def number_paths(pipeline: Pipeline) -> frozenset[str]:
    """Those of `event_paths` of which only numbers are wanted."""
    return _paths_of(pipeline, Number)


def word_paths(pipeline: Pipeline) -> frozenset[str]:
    """Those of `event_paths` that repeat a few words."""
    return _paths_of(pipeline, Category)


def _paths_of(pipeline: Pipeline, kind: type[Number | Category]) -> frozenset[str]:
    """What is read as one kind of feature, and as nothing else."""
    others = {pipeline.events.id, pipeline.events.time}
    others |= {each.field for each in pipeline.features if not isinstance(each.kind, kind)}
    return frozenset(each.field for each in pipeline.features if isinstance(each.kind, kind)) - others


def label_paths(pipeline: Pipeline) -> tuple[str, ...]:
    """The fields that `take_labels` reads."""
    source = pipeline.labels
    return tuple(dict.fromkeys([source.id, source.time, source.value]))


def take_events(
    pipeline: Pipeline,
    columns: Mapping[str, Values],
    written: Sequence[int],
    *,
    key: bytes | None = None,
    repeats: Repeats | None = None,
) -> Intake:
    """Feature rows of a batch of events; a row's fault is its own.

    Args:
        pipeline: says what to read of them.
        columns: `event_paths` → one value per row.
        written: the timestamps of their records, milliseconds since 1970.
        key: of the hashes, where the pipeline asks for some.
        repeats: the ids taken lately; where left out, no event is a repeat.
    """
    source = pipeline.events
    refused: dict[int, Invalid] = {}
    ids: Sequence[str] = _ids(source.id, columns[source.id], refused)
    times = _times(source.time, columns[source.time], written, refused, ahead=source.freshness.guard)
    stale = _hold_fresh(source, times, written, refused)
    vectors = vectorise_columns(pipeline.features, hashed_words(pipeline, columns, key), times)
    refused = dict(sorted({**vectors.invalid, **refused}.items()))
    broken = [*stale, *vectors.broken]
    matrix, cleared = vectors.matrix, vectors.cleared
    taken = np.ones(len(written), dtype=np.bool_)
    taken[list(refused)] = False
    valid = np.flatnonzero(taken)
    ids = hashed_ids(pipeline, [ids[place] for place in valid.tolist()] if refused else ids, key)
    again = None if repeats is None else repeats.among(ids, times[valid])
    if again is not None:
        ids = [name for name, repeat in zip(ids, again.tolist(), strict=True) if not repeat]
        taken[valid[again]] = False
        valid = valid[~again]
    if len(valid) < len(written):
        times, matrix = times[valid], matrix[valid]
        cleared = tuple(cleared[place] for place in valid.tolist())
    return Intake(
        ids=ids,
        times=times,
        cleared=cleared,
        flags=_flags(broken, valid),
        matrix=matrix,
        refused=refused,
        duplicates=0 if again is None else int(again.sum()),
        rules=rule_counts(refusals(refused.values()), breaches(broken, taken)),
    )


def take_labels(
    pipeline: Pipeline, columns: Mapping[str, Values], written: Sequence[int], *, key: bytes | None = None
) -> Labelled:
    """The labels in a batch of records of the labels' topic.

    Args:
        pipeline: says what makes a label.
        columns: `label_paths` → one value per row.
        written: the timestamps of their records, milliseconds since 1970.
        key: of the hashes, where the pipeline asks for some.
    """
    source = pipeline.labels
    labels: list[Label] = []
    refused: dict[int, Invalid] = {}
    fields = [plain(columns[name]) for name in (source.id, source.time, source.value)]
    rows = zip(*fields, written, strict=True)
    for place, (name, time, value, stamp) in enumerate(rows):
        try:
            labels.append(
                Label(
                    id=hashed_ids(pipeline, [read_id(name, source.id)], key)[0],
                    time=read_time(time, source.time, stamp),
                    label=make_label(pipeline, value),
                )
            )
        except Invalid as why:
            refused[place] = why
    return Labelled(labels=labels, refused=refused, rules=rule_counts(refusals(refused.values())))


def read_id(value: object, name: str) -> str:
    """The id that predictions and labels meet by: text, or a whole number as its digits.

    >>> read_id(17, "id")
    '17'
    """
    if value is None or value == "" or value != value:  # noqa: PLR0124 - NaN, which stands for null
        raise Invalid(f"no id: field {name!r} is missing or empty", field=name, reason="missing_id")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Invalid(
            f"id {name!r} is a {type(value).__name__}, expected text or a whole number",
            field=name,
            reason="wrong_type",
        )
    if len(text := str(value)) > _LONGEST_ID:
        raise Invalid(
            f"id {name!r} has {len(text)} characters, at most {_LONGEST_ID} are taken",
            field=name,
            reason="too_large",
        )
    return text


def read_time(value: object, name: str, written: int, *, ahead: int = DAY) -> int:
    """Milliseconds since 1970 of a record's own time, which may not be much later than it was written."""
    if value is None or value != value:  # noqa: PLR0124 - NaN, which stands for null
        raise Invalid(f"no time: field {name!r} is missing", field=name, reason="missing_time")
    time = event_time_ms(value, field=name)
    if time > written + ahead:
        far = "a day" if ahead == DAY else show_duration(ahead)
        raise Invalid(
            f"{name} is {show(value)}, more than {far} after the record was written",
            field=name,
            reason="future_time",
        )
    return time


def _ids(name: str, values: Values, refused: dict[int, Invalid]) -> list[str]:
    rows: list[Any] = list(plain(values))
    kinds = set(map(type, rows))
    if kinds == {int}:
        return list(map(str, rows))
    if kinds == {str} and all(rows) and max(map(len, rows)) <= _LONGEST_ID:
        return rows
    ids = []
    for place, value in enumerate(rows):
        try:
            ids.append(read_id(value, name))
        except Invalid as why:
            ids.append("")
            refused[place] = why
    return ids


def _times(
    name: str, values: Values, written: Sequence[int], refused: dict[int, Invalid], *, ahead: int
) -> NDArray[np.int64]:
    times, odd = event_times_ms(values)
    odd |= times > np.array(written, dtype=np.int64) + ahead
    places = np.flatnonzero(odd).tolist()
    rows = plain(values) if places else ()
    for place in places:
        times[place] = 0
        try:
            times[place] = read_time(rows[place], name, written[place], ahead=ahead)
        except Invalid as why:
            refused.setdefault(place, why)
    return times


def _hold_fresh(
    source: Events, times: NDArray[np.int64], written: Sequence[int], refused: dict[int, Invalid]
) -> list[Broken]:
    """What is too old is refused, or told of, as is what is ahead and let in all the same."""
    fresh = source.freshness
    if fresh.at_most is None and fresh.guard == fresh.ahead:
        return []
    stamps = np.array(written, dtype=np.int64)
    old = (
        times < stamps - fresh.at_most if fresh.at_most is not None else np.zeros(len(times), dtype=np.bool_)
    )
    if fresh.otherwise == "flag":
        rows = old | (times > stamps + fresh.ahead)
        rows[list(refused)] = False
        return [Broken(field=source.time, rule="freshness", action="flag", rows=rows)] if rows.any() else []
    for place in np.flatnonzero(old).tolist():
        message = (
            f"{source.time} is more than {show_duration(fresh.at_most or 0)} before the record was written"
        )
        refused.setdefault(place, Invalid(message, field=source.time, reason="stale"))
    return []


def _flags(broken: Sequence[Broken], valid: NDArray[np.intp]) -> Sequence[tuple[str, ...]]:
    """The rules that each valid row broke and that only mark it."""
    flags: list[tuple[str, ...]] = [()] * len(valid)
    for each in broken:
        if each.action == "flag":
            for place in np.flatnonzero(each.rows[valid]).tolist():
                flags[place] += (f"{each.field}:{each.rule}",)
    return flags
