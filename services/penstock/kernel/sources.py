"""Where events and labels come from: topics, fields, wire formats."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

import orjson
from pydantic import BeforeValidator, ConfigDict, PlainSerializer

from penstock.kernel.mistakes import Mistake, Path, Wrong, nearest, peek, show
from penstock.kernel.names import FieldName, TopicName
from penstock.kernel.units import AComparison, Duration

_STRICT: Final = ConfigDict(extra="forbid")


def canonical_json(value: object) -> bytes:
    """The one JSON text of a value: keys sorted, no spaces.

    >>> canonical_json({"b": 1, "a": [2]})
    b'{"a":[2],"b":1}'
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How the values of a topic are written.

    Args:
        wire: JSON objects, or single-object Avro.
        file: where the Avro schema lies, beside the pipeline file; '' once it is inline.
        schema: the Avro schema as canonical JSON; '' until it is inline.
    """

    wire: Literal["json", "avro"] = "json"
    file: str = ""
    schema: str = ""

    @classmethod
    def read(cls, raw: object) -> "Format":
        if isinstance(raw, Format):
            return raw
        if raw == "json":
            return cls()
        if isinstance(raw, Mapping) and len(raw) == 1:
            wire, of = next(iter(raw.items()))
            if wire == "avro":
                return cls._read_avro(of)
            raise _unread(wire, within=(wire,))
        if isinstance(raw, str):
            raise _unread(raw)
        raise Wrong(f"expected json or {{avro: FILE}}, got {show(raw)}")

    @classmethod
    def _read_avro(cls, of: object) -> "Format":
        if isinstance(of, str) and of:
            return cls(wire="avro", file=of)
        schema = of.get("schema") if isinstance(of, Mapping) and set(of) == {"schema"} else None
        if (
            isinstance(schema, Mapping)
            and schema.get("type") == "record"
            and isinstance(schema.get("fields"), list)
        ):
            return cls(wire="avro", schema=canonical_json(schema).decode())
        raise Wrong(
            "expected the file of an Avro record schema, or {schema: …} with the record itself",
            within=("avro",),
        )

    def raw(self) -> object:
        """The format as a pipeline file, or an applied spec, writes it."""
        if self.wire == "json":
            return "json"
        return {"avro": {"schema": orjson.loads(self.schema)} if self.schema else self.file}


def _unread(wire: object, *, within: Path = ()) -> Wrong:
    if wire == "avro":
        return Wrong("avro needs its schema: {avro: FILE}", within=within)
    if wire == "json":
        return Wrong("json takes nothing more: format: json", within=within)
    if wire in ("confluent", "cloudevents"):
        return Wrong(f"wire format {wire!r} is not read yet: use json or avro", within=within)
    return Wrong(
        f"unknown wire format {show(wire)}: expected json or avro",
        nearest(wire, ["json", "avro"]),
        within=within,
    )


AFormat = Annotated[Format, BeforeValidator(Format.read), PlainSerializer(Format.raw)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Where events come from.

    Args:
        topic: its full name in Kafka.
        id: the field that names the event; there is one prediction per id.
        time: the field of its event time.
        format: how the values are written.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    topic: TopicName
    id: FieldName
    time: FieldName
    format: AFormat = Format()


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
    format: AFormat = Format()
    positive: AComparison | None = None
    available: Literal["always", "after_action"] = "always"


def inline_schemas(
    raw: Mapping[str, object], schema_of: Callable[[str], object], mistakes: list[Mistake]
) -> dict[str, object]:
    """The raw mapping with every `{avro: FILE}` replaced by `{avro: {schema: schema_of(FILE)}}`.

    Where `schema_of` raises `Wrong`, a mistake is added and the file's name stays.

    >>> raw = {"events": {"format": {"avro": "a.avsc"}}}
    >>> inline_schemas(raw, {"a.avsc": {"type": "record"}}.get, [])
    {'events': {'format': {'avro': {'schema': {'type': 'record'}}}}}
    """
    inlined = dict(raw)
    for section in ("events", "labels"):
        part, file = raw.get(section), peek(raw, section, "format", "avro")
        if isinstance(part, Mapping) and isinstance(file, str) and file and len(part["format"]) == 1:
            try:
                inlined[section] = {**part, "format": {"avro": {"schema": schema_of(file)}}}
            except Wrong as wrong:
                mistakes.append(Mistake((section, "format", "avro"), str(wrong), wrong.suggestion))
    return inlined
