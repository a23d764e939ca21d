"""Text as values: the cells of a CSV file, and NAME=VALUE on the command line.

What a field is decides, where that is known: from an Avro schema, an applied pipeline, the model that is
asked. Elsewhere a cell is a number only where JSON would write that number so: `007`, `1_000` and `nan` stay
text. An empty cell is missing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from penstock.kernel.kinds import Boolean, Category, Number

if TYPE_CHECKING:
    from penstock.kernel.pipeline import Pipeline

Reader = Callable[[str], object]
"""The value of a cell that is not empty; the text itself where it is no such value."""
Readers = Mapping[str, Reader]
# Whole numbers of more digits are ids, and not every reader of JSON keeps their last ones.
_JSON_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?([eE][+-]?[0-9]+)?")
# With a point they come from tables in which the column has holes.
_YES_NO: Final = {
    **dict.fromkeys(("true", "yes", "1", "1.0"), True),
    **dict.fromkeys(("false", "no", "0", "0.0"), False),
}


def text(cell: str) -> object:
    return cell


def number(cell: str) -> object:
    """However it is written, as long as it is one.

    >>> number("007"), number("7.50"), number("1_000"), number("nan")
    (7, 7.5, '1_000', 'nan')
    """
    for kind in (int, float):
        try:
            value = kind(cell)
        except ValueError:
            continue
        return value if "_" not in cell and math.isfinite(value) else cell
    return cell


def boolean(cell: str) -> object:
    """True or false, yes or no, 1 or 0.

    >>> boolean("True"), boolean("0"), boolean("maybe")
    (True, False, 'maybe')
    """
    return _YES_NO.get(cell.casefold(), cell)


def plain(cell: str) -> object:
    """A cell of which nothing is known: a number where JSON would write that number so.

    >>> [plain(cell) for cell in ("7", "-7.5", "007", "1_000", "+1", "12345678901234567890", "EWR")]
    [7, -7.5, '007', '1_000', '+1', '12345678901234567890', 'EWR']
    """
    return number(cell) if _JSON_NUMBER.fullmatch(cell) else cell


def typed(row: Mapping[str, str | None], readers: Readers) -> dict[str, Any]:
    """A row of cells as values; None where a cell is empty.

    >>> typed({"id": "007", "age": "41", "plan": "", "seats": "3"}, {"id": text})
    {'id': '007', 'age': 41, 'plan': None, 'seats': 3}
    """
    return {name: readers.get(name, plain)(cell) if cell else None for name, cell in row.items()}


def of_events(pipeline: Pipeline) -> dict[str, Reader]:
    """How the events of a pipeline are read: its features by their kind, the id as it stands."""
    kinds: Mapping[type, Reader] = {Number: number, Category: text, Boolean: boolean}
    features = {feature.field: kinds.get(type(feature.kind), plain) for feature in pipeline.features}
    return {pipeline.events.id: text, **features}


def of_labels(pipeline: Pipeline) -> dict[str, Reader]:
    """How the labels of a pipeline are read: the value by the task, the id as it stands."""
    match pipeline.task, pipeline.labels.positive:
        case "multiclass", _:
            reader = text
        case "binary", None:
            reader = boolean
        case _:
            reader = number
    return {pipeline.labels.id: text, pipeline.labels.value: reader}


def of_topic(topic: str, pipelines: Iterable[Pipeline]) -> dict[str, Reader]:
    """How the events and labels on a topic are read; where pipelines disagree about a field, the first one's
    way.
    """
    readers: dict[str, Reader] = {}
    for pipeline in pipelines:
        if pipeline.events.topic == topic:
            readers = {**of_events(pipeline), **readers}
        if pipeline.labels.topic == topic:
            readers = {**of_labels(pipeline), **readers}
    return readers


def of_schema(schema: Mapping[str, Any]) -> dict[str, Reader]:
    """How records of an Avro schema are read.

    >>> readers = of_schema({"fields": [
    ...     {"name": "id", "type": "string"},
    ...     {"name": "born", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
    ... ]})
    >>> typed({"id": "7", "born": "1357028100000"}, readers)
    {'id': '7', 'born': 1357028100000}
    """
    return {field["name"]: _of_type(field["type"]) for field in schema.get("fields", ())}


def _of_type(kind: Any) -> Reader:
    match kind:
        case "string" | "bytes" | "enum" | "fixed":
            return text
        case "int" | "long" | "float" | "double":
            return number
        case "boolean":
            return boolean
        case {"type": inner}:
            return _of_type(inner)
        case [*branches] if len(there := [branch for branch in branches if branch != "null"]) == 1:
            return _of_type(there[0])
    return plain
