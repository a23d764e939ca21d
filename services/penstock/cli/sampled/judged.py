"""What intake would make of a sample, and why not of the rest. Pure: it decides by intake's own functions."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from penstock.ingest.domain.intake import take_events, take_labels
from penstock.ingest.domain.veil import hashed_words, veiled
from penstock.kernel.kinds import Boolean, Category, Number
from penstock.kernel.pii import treatment_of
from penstock.runtime.deadletter import Fuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from penstock.contracts.records import RuleCount
    from penstock.ingest.domain.intake import Intake
    from penstock.kernel.errors import Invalid
    from penstock.kernel.features import Values
    from penstock.kernel.kinds import Feature
    from penstock.kernel.pipeline import Pipeline
    from penstock.runtime.broker import Record
    from penstock.runtime.wire import Columns

NEARLY_ALL: Final = Fuse().share
"""The share of refused records from which on ingest would stop."""
_WORDS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Records that would be refused for one reason.

    Args:
        reason: a stable word.
        field: the field at fault; '' where it is the whole record.
        count: how many.
        origin: where the first of them stands.
        example: what is wrong with that one; without its value where that is personal.
    """

    reason: str
    field: str
    count: int
    origin: str
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What would become of the records of one topic.

    Args:
        seen: how many there are.
        refused: why some would be refused, most first.
        ids: of those taken, in order.
        times: of those taken, milliseconds since 1970, shape (taken,).
    """

    seen: int
    refused: Sequence[Why]
    ids: Sequence[str]
    times: NDArray[np.int64]

    @property
    def taken(self) -> int:
        return len(self.ids)

    @property
    def hopeless(self) -> bool:
        """Whether so many would be refused that ingest would stop."""
        return self.seen > 0 and self.seen - self.taken >= NEARLY_ALL * self.seen

    @property
    def repeats(self) -> int:
        """Records whose id another one before them had."""
        return len(self.ids) - len(set(self.ids))


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A feature over the rows taken.

    Args:
        feature: which.
        missing: rows without it, those that lost it to a rule among them.
        broken: rule → how many rows broke it, and what became of the value.
        unseen: the commonest words that are not among the categories, and how often.
        numbers: least, median, most; None where there are none.
        words: the commonest categories, and how often.
    """

    feature: Feature
    missing: int
    broken: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    unseen: Sequence[tuple[str, int]] = ()
    numbers: tuple[float, float, float] | None = None
    words: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedEvents(Judged):
    """Events, by feature.

    Args:
        columns: over the rows taken.
        rules: broken ones that are about no feature, and refused nothing.
    """

    columns: Sequence[Column]
    rules: Sequence[RuleCount] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedLabels(Judged):
    """Labels.

    Args:
        labels: as the pipeline makes them, shape (taken,).
    """

    labels: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """Labels that find their event in the sample.

    Args:
        labels: all labels taken.
        found: those that do.
        late: known later than the horizon allows.
        early: known before the event's own time.
        delays: of those found, milliseconds, ascending.
    """

    labels: int
    found: int
    late: int
    early: int
    delays: NDArray[np.int64]


def judge_events(pipeline: Pipeline, records: Sequence[Record], columns: Columns, key: bytes) -> JudgedEvents:
    """What would become of events; the pipeline's categories have to be known.

    Args:
        pipeline: by which they are judged.
        records: the sample.
        columns: what was read of it.
        key: of hashes, where the pipeline asks for some.
    """
    taken = [records[place] for place in columns.places]
    if not taken:
        why = _whys(pipeline, records, columns.refused)
        return JudgedEvents(seen=len(records), refused=why, ids=(), times=_NO_TIMES, columns=())
    intake = take_events(pipeline, columns.values, [record.timestamp for record in taken], key=key)
    refused = {**columns.refused, **{columns.places[place]: why for place, why in intake.refused.items()}}
    rules = [each for each in intake.rules if each.action != "dead_letter"]
    words = hashed_words(pipeline, columns.values, key)
    return JudgedEvents(
        seen=len(records),
        refused=_whys(pipeline, records, refused),
        ids=intake.ids,
        times=intake.times,
        columns=_columns(pipeline, words, intake, rules),
        rules=[each for each in rules if each.field not in {it.field for it in pipeline.features}],
    )


def judge_labels(pipeline: Pipeline, records: Sequence[Record], columns: Columns, key: bytes) -> JudgedLabels:
    """What would become of labels; the arguments are those of `judge_events`."""
    taken = [records[place] for place in columns.places]
    if not taken:
        why = _whys(pipeline, records, columns.refused)
        return JudgedLabels(seen=len(records), refused=why, ids=(), times=_NO_TIMES, labels=np.zeros(0))
    labelled = take_labels(pipeline, columns.values, [record.timestamp for record in taken], key=key)
    refused = {**columns.refused, **{columns.places[place]: why for place, why in labelled.refused.items()}}
    return JudgedLabels(
        seen=len(records),
        refused=_whys(pipeline, records, refused),
        ids=[label.id for label in labelled.labels],
        times=np.array([label.time for label in labelled.labels], dtype=np.int64),
        labels=np.array([label.label for label in labelled.labels]),
    )


def meet(events: Judged, labels: Judged, horizon: int) -> Met:
    """Which labels find their event; of events of one id the first counts, as in the join."""
    known: dict[str, int] = {}
    for name, time in zip(events.ids, events.times.tolist(), strict=True):
        known.setdefault(name, time)
    pairs = zip(labels.ids, labels.times.tolist(), strict=True)
    delays = np.array(sorted(time - known[name] for name, time in pairs if name in known), dtype=np.int64)
    return Met(
        labels=labels.taken,
        found=len(delays),
        late=int((delays > horizon).sum()),
        early=int((delays < 0).sum()),
        delays=delays,
    )


def learned_here(pipeline: Pipeline, columns: Columns, key: bytes) -> tuple[Pipeline, dict[str, int]]:
    """The pipeline with the categories of the sample where `apply` will learn them; how many of each."""
    fields = {each.name: each.field for each in pipeline.features if each.name in pipeline.unlearned}
    values = hashed_words(pipeline, columns.values, key)
    words = {
        name: sorted({value for value in _plain(values.get(field, ())) if isinstance(value, str)})
        for name, field in fields.items()
    }
    counts = {name: len(found) for name, found in words.items()}
    return pipeline.frozen({name: found or [""] for name, found in words.items()}), counts


_NO_TIMES: Final = np.zeros(0, dtype=np.int64)


def _whys(pipeline: Pipeline, records: Sequence[Record], refused: Mapping[int, Invalid]) -> list[Why]:
    groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for place, why in sorted(refused.items()):
        groups[why.reason, why.field].append(place)
    found = []
    for (reason, name), places in groups.items():
        first = records[places[0]]
        found.append(
            Why(
                reason=reason,
                field=name,
                count=len(places),
                origin=f"{first.topic}/{first.partition}/{first.offset}",
                example=str(veiled(pipeline.pii, refused[places[0]])),
            )
        )
    return sorted(found, key=lambda each: (-each.count, each.reason, each.field))


def _columns(
    pipeline: Pipeline, values: Mapping[str, Values], intake: Intake, rules: Sequence[RuleCount]
) -> list[Column]:
    """Each feature over the rows that would be taken."""
    rows = len(intake.ids) + len(intake.refused)
    valid = [place for place in range(rows) if place not in intake.refused]
    found = []
    for at, feature in enumerate(pipeline.features):
        codes = intake.matrix[:, at]
        there = codes[~np.isnan(codes)]
        broken = {each.rule: (each.count, each.action) for each in rules if each.field == feature.field}
        told: dict[str, Any] = {}
        if isinstance(feature.kind, Number) and len(there):
            told["numbers"] = (float(there.min()), float(np.median(there)), float(there.max()))
        elif isinstance(feature.kind, Category) and treatment_of(pipeline.pii, feature.field) is None:
            words = _plain(values.get(feature.field, ()))
            said = list(zip([words[place] for place in valid], codes.tolist(), strict=True))
            told["unseen"] = _commonest(word for word, code in said if code == 0)
            told["words"] = _commonest(word for word, code in said if code > 0)
        elif isinstance(feature.kind, Boolean) and len(there):
            told["words"] = [("true", int(there.sum())), ("false", int((1 - there).sum()))]
        missing = len(codes) - len(there)
        found.append(Column(feature=feature, missing=missing, broken=broken, **told))
    return found


def _commonest(words: Iterable[object]) -> list[tuple[str, int]]:
    return Counter(str(word) for word in words).most_common(_WORDS)


def _plain(values: Values) -> Sequence[object]:
    plain: Sequence[object] = values.tolist() if isinstance(values, np.ndarray) else values
    return plain
