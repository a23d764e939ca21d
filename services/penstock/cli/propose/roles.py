"""Which field is the id that events and labels share, which are the times, and which is the label's value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from penstock.cli.propose.fields import NEARLY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from penstock.cli.propose.fields import Field

_ID_NAME: Final = re.compile(r"(^|[._])(id|key|uuid|guid|number|no|nr|ref|code)$|id$|key$", re.IGNORECASE)
_TIME_NAME: Final = re.compile(
    r"(^|[._])(at|t|ts|time|date|when|timestamp|datetime|event_?time|created|occurred|updated)$"
    r"|(_at|_time|_ts|_date|time|timestamp)$",
    re.IGNORECASE,
)
_LABEL_NAME: Final = re.compile(
    r"(^|[._])(label|target|outcome|result|value|y|class|status|truth|actual|response|is_\w+|was_\w+|has_\w+"
    r"|churn\w*|fraud\w*|default\w*|click\w*|convert\w*|convers\w*|return\w*|cancel\w*|delay\w*|late\w*"
    r"|\w+_(delay|outcome|result|label|class|score|amount|count))$",
    re.IGNORECASE,
)
_UNIQUE: Final = 0.5
"""Values per row that an id has at least: the same event may be sent again."""
_OVERLAP: Final = 0.02
"""The share of labels that find an event by it, from which on it is evidence."""
_FEW: Final = 20
"""Values that a class may have, and a category that is written out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdPair:
    """A field of the events and one of the labels that may name the same.

    Args:
        events: path in events.
        labels: path in labels.
        unique: values per row, in events.
        shared: the share of the labels' values that are among the events'.
        weight: how likely it is, against others.
    """

    events: str
    labels: str
    unique: float
    shared: float
    weight: float


def id_pairs(
    events: Mapping[str, Field],
    labels: Mapping[str, Field],
    keys: Mapping[str, float],
) -> list[IdPair]:
    """Candidates for the id, the likeliest first.

    Args:
        events: fields of the events, by path.
        labels: fields of the labels.
        keys: path in events → the share of records whose key is that value.
    """
    found = []
    for name, event in events.items():
        unique = event.distinct / max(event.present, 1)
        if not _may_be_id(event) or unique < _UNIQUE:
            continue
        known = set(map(str, event.counts))
        for other, label in labels.items():
            if not _may_be_id(label) or label.distinct / max(label.present, 1) < _UNIQUE:
                continue
            shared = sum(str(value) in known for value in label.counts) / max(label.distinct, 1)
            same = name.rpartition(".")[2] == other.rpartition(".")[2]
            if shared < _OVERLAP and not (same and _ID_NAME.search(name)):
                continue
            weight = (
                3 * shared * unique
                + 1.0 * keys.get(name, 0.0)
                + 0.5 * bool(_ID_NAME.search(name))
                + 0.5 * same
            )
            pair = IdPair(events=name, labels=other, unique=unique, shared=shared, weight=weight)
            found.append(pair)
    return sorted(found, key=lambda pair: (-pair.weight, pair.events, pair.labels))


def times(fields: Mapping[str, Field], but: Sequence[str] = ()) -> list[str]:
    """Candidates for the time, the likeliest first: called so, and near when the record was written."""
    found = [field for field in fields.values() if field.times is not None and field.everywhere]
    found = [field for field in found if field.path not in but]
    return [
        field.path
        for field in sorted(
            found, key=lambda field: (not _TIME_NAME.search(field.path), field.apart, field.path)
        )
    ]


def values(labels: Mapping[str, Field], but: Sequence[str]) -> list[str]:
    """Candidates for what the label is made from, the likeliest first."""
    weighed = [
        (_label_weight(field), name)
        for name, field in labels.items()
        if name not in but and field.times is None and _label_weight(field) > 0
    ]
    return [name for _, name in sorted(weighed, key=lambda pair: (-pair[0], pair[1]))]


def task_of(value: Field) -> str:
    """What kind of answer a label of these values asks for."""
    match value.kind:
        case "boolean":
            return "binary"
        case "text":
            return "multiclass"
        case _:
            return "binary" if set(value.counts) <= {0, 1} else "regression"


def _may_be_id(field: Field) -> bool:
    named = field.times is None or bool(_ID_NAME.search(field.path))
    return named and field.everywhere and (field.kind == "text" or field.whole)


def _label_weight(field: Field) -> float:
    if field.present < NEARLY * field.rows / 2 or field.kind not in {"boolean", "number", "text"}:
        return 0.0
    few = field.distinct <= _FEW
    match field.kind:
        case "boolean":
            weight = 4.0
        case "number":
            weight = 3.5 if set(field.counts) <= {0, 1} else 2.0
        case _:
            weight = 2.5 if few and field.distinct < field.present else 0.0
    if not weight:
        return 0.0
    return weight + 2.0 * bool(_LABEL_NAME.search(field.path)) - 3.0 * (field.distinct < 2)  # noqa: PLR2004 - constant
