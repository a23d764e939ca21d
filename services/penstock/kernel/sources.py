"""Where events and labels come from: topics, fields, wire formats."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from pydantic import ConfigDict

from penstock.kernel.arrivals import AN_HOUR, FRESH, AWindow, Freshness
from penstock.kernel.formats import JSON, AFormat, schema_files
from penstock.kernel.mistakes import Mistake, Path, Wrong, peek
from penstock.kernel.names import FieldName, TopicName
from penstock.kernel.units import AComparison, Duration

_STRICT: Final = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Where events come from.

    Args:
        topic: its full name in Kafka.
        id: the field that names the event; there is one prediction per id.
        time: the field of its event time.
        format: how the values are written.
        freshness: how far its time may be from when it was written.
        duplicates: within what an event with the id of another is that one again, and becomes nothing.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    topic: TopicName
    id: FieldName
    time: FieldName
    format: AFormat = JSON
    freshness: Freshness = FRESH
    duplicates: AWindow = AN_HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Where labels come from, and what makes them.

    Args:
        topic: its full name in Kafka.
        id: the field that holds the event's id.
        time: the field that says when the label became known.
        value: the field the label is made from.
        horizon: milliseconds after the prediction; a label known later is late.
        format: how the values are written.
        positive: how a number becomes a yes or no; None = the value is the label.
        available: whether every event gets a label, or only those acted upon.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    topic: TopicName
    id: FieldName
    time: FieldName
    value: FieldName
    horizon: Duration
    format: AFormat = JSON
    positive: AComparison | None = None
    available: Literal["always", "after_action"] = "always"


def inline_schemas(
    raw: Mapping[str, object], schema_of: Callable[[str], object], mistakes: list[Mistake]
) -> dict[str, object]:
    """The raw mapping with the file of every Avro schema replaced by `{schema: schema_of(FILE)}`.

    Where `schema_of` raises `Wrong`, a mistake is added and the file's name stays.

    >>> raw = {"events": {"format": {"avro": "a.avsc"}}}
    >>> inline_schemas(raw, {"a.avsc": {"type": "record"}}.get, [])
    {'events': {'format': {'avro': {'schema': {'type': 'record'}}}}}
    """
    inlined = dict(raw)
    for section in ("events", "labels"):
        for path, file in schema_files(peek(raw, section, "format")):
            where: Path = (section, "format", *path)
            try:
                inlined = _with(inlined, where, {"schema": schema_of(file)})
            except Wrong as wrong:
                mistakes.append(Mistake(where, str(wrong), wrong.suggestion))
    return inlined


def _with(raw: Any, path: Path, value: object) -> Any:
    """A copy of nested mappings and lists, with another value at a path that is there."""
    if not path:
        return value
    copy: Any = list(raw) if isinstance(raw, list) else dict(raw)
    copy[path[0]] = _with(raw[path[0]], path[1:], value)
    return copy
