"""Wire formats: how producers write the values of a topic, as a pipeline file says it.

    format: json                                    JSON objects
    format: {avro: FILE}                            single-object Avro
    format: {avro: [FILE, FILE]}                    the same, written with any of several schemas
    format: {avro: container}                       each value a whole Avro container
    format: {confluent: URL}                        a registry's id before the value, or in a header
    format: {confluent: {7: FILE, 12: FILE}}        the same, without a registry
    format: {cloudevents: FORMAT}                   CloudEvents, their data in one of the above

To all but json belongs `reader: FILE`, where wanted: an Avro schema whose names, aliases and defaults the
pipeline's fields are, whatever the producers' own schema is.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BeforeValidator, PlainSerializer

from penstock.kernel.canonical import canonical_json
from penstock.kernel.mistakes import Path, Wrong, nearest, show

_HOST: Final = r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]"
_URL: Final = re.compile(rf"https?://({_HOST})(:\d{{1,5}})?(/[^\s?#@]*)?")
_ADDRESS: Final = re.compile(rf"({_HOST}):\d{{1,5}}(/[^\s?#@]*)?")
_GUID: Final = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
_LARGEST_ID: Final = 2**31 - 1  # as registries give them, and the four bytes before a value hold them
CONTAINER: Final = "container"
ENVELOPE: Final = "ce"
"""What paths into the envelope of a CloudEvent begin with: `ce.id`, `ce.time`."""
_WIRES: Final = ("json", "avro", "confluent", "cloudevents")
_EXPECTED: Final = "json, {avro: FILE}, {confluent: URL} or {cloudevents: …}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AvroSchema:
    """An Avro schema that a pipeline names.

    Args:
        file: where it lies, beside the pipeline file; '' once it is inline.
        schema: its canonical JSON; '' until it is inline.
        id: what a registry calls it, digits or a GUID; '' where no registry has it.
    """

    file: str = ""
    schema: str = ""
    id: str = ""

    @classmethod
    def read(cls, raw: object, *, within: Path, name: str = "") -> "AvroSchema":
        """The name of a file, or `{schema: …}` with the record itself."""
        if isinstance(raw, str) and raw:
            return cls(file=raw, id=name)
        schema = raw.get("schema") if isinstance(raw, Mapping) and set(raw) == {"schema"} else None
        if (
            isinstance(schema, Mapping)
            and schema.get("type") == "record"
            and isinstance(schema.get("fields"), list)
        ):
            return cls(schema=canonical_json(schema).decode(), id=name)
        raise Wrong(
            "expected the file of an Avro record schema, or {schema: …} with the record itself", within=within
        )

    def raw(self) -> object:
        return {"schema": orjson.loads(self.schema)} if self.schema else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How the values of a topic are written.

    Args:
        wire: JSON objects, single-object Avro, an Avro container each, or as Confluent's serializers do.
        file: where the Avro schema lies, beside the pipeline file; '' once it is inline.
        schema: the Avro schema as canonical JSON; '' until it is inline.
        others: further schemas that producers write with, by their ids where a registry has given them some.
        registry: the URL of a schema registry that knows the others; '' where none is asked.
        reader: the Avro schema whose names the pipeline's fields are; None = the producers' own.
        cloudevents: whether the values come as, or in, CloudEvents.

    >>> Format.read({"confluent": {7: "order.avsc"}}).others
    (AvroSchema(file='order.avsc', schema='', id='7'),)
    >>> Format.read({"cloudevents": "json"}).raw()
    {'cloudevents': 'json'}
    """

    wire: Literal["json", "avro", "container", "confluent"] = "json"
    file: str = ""
    schema: str = ""
    others: tuple[AvroSchema, ...] = ()
    registry: str = ""
    reader: AvroSchema | None = None
    cloudevents: bool = False

    @classmethod
    def read(cls, raw: object) -> "Format":
        """The format that a pipeline file, or an applied spec, names.

        Raises:
            Wrong: it is none.
        """
        if isinstance(raw, Format):
            return raw
        if raw == "json":
            return cls()
        if raw == CONTAINER:
            return cls(wire="container")
        if not isinstance(raw, Mapping) or not raw:
            raise _unread(raw)
        wires = [key for key in raw if key != "reader"]
        if not wires:
            raise Wrong(f"a reader of what? expected {_EXPECTED}", within=("reader",))
        wire = wires[0]
        if wire not in _WIRES or wire == "json":
            raise _unread(wire, within=(wire,))
        if len(wires) > 1:
            raise Wrong(f"the format is already {wire}", within=(wires[1],))
        reader = AvroSchema.read(raw["reader"], within=("reader",)) if "reader" in raw else None
        if wire == "avro":
            return _avro(raw[wire], reader)
        return _confluent(raw[wire], reader) if wire == "confluent" else _cloudevents(raw[wire], reader)

    @property
    def written(self) -> tuple[AvroSchema, ...]:
        """The producers' schemas that the pipeline itself names."""
        own = (AvroSchema(file=self.file, schema=self.schema),) if self.wire == "avro" else ()
        return own + self.others

    @property
    def files(self) -> tuple[str, ...]:
        """The schemas that are still to be put inline."""
        named = (*self.written, *([self.reader] if self.reader else []))
        return tuple(each.file for each in named if not each.schema)

    @property
    def described(self) -> tuple[Any, ...]:
        """The inline Avro schemas, one of which says what the pipeline's fields are; empty if none does."""
        named = (self.reader,) if self.reader else self.written
        return tuple(orjson.loads(each.schema) for each in named if each.schema)

    def raw(self) -> object:
        """The format as a pipeline file, or an applied spec, writes it."""
        plain = self._raw()
        if self.reader is not None and isinstance(plain, dict):
            plain["reader"] = self.reader.raw()
        return {"cloudevents": plain} if self.cloudevents else plain

    def _raw(self) -> object:
        match self.wire:
            case "json":
                return "json"
            case "container":
                return {"avro": CONTAINER}
            case "avro":
                schemas = [each.raw() for each in self.written]
                return {"avro": schemas if len(schemas) > 1 else schemas[0]}
            case "confluent":
                url = {"url": self.registry} if self.registry else {}
                ids = {each.id: each.raw() for each in self.others}
                return {"confluent": {**url, **ids} if ids else self.registry}


def _avro(of: object, reader: AvroSchema | None) -> Format:
    if of == CONTAINER:
        return Format(wire="container", reader=reader)
    if isinstance(of, list) and of:
        first, *others = (AvroSchema.read(each, within=("avro", at)) for at, each in enumerate(of))
    else:
        first, others = AvroSchema.read(of, within=("avro",)), []
    return Format(wire="avro", file=first.file, schema=first.schema, others=tuple(others), reader=reader)


def _confluent(of: object, reader: AvroSchema | None) -> Format:
    if not isinstance(of, Mapping):
        return Format(wire="confluent", registry=_url(of, within=("confluent",)), reader=reader)
    url = _url(of["url"], within=("confluent", "url")) if "url" in of else ""
    known: dict[str, AvroSchema] = {}
    for key, schema in of.items():
        if key == "url":
            continue
        name = _id(key)
        if name in known:
            raise Wrong(f"id {name} stands here twice", within=("confluent", key))
        known[name] = AvroSchema.read(schema, within=("confluent", key), name=name)
    if not known and not url:
        raise Wrong("expected the URL of a schema registry, or {ID: FILE}", within=("confluent",))
    others = tuple(known[name] for name in sorted(known))
    return Format(wire="confluent", registry=url, others=others, reader=reader)


def _cloudevents(of: object, reader: AvroSchema | None) -> Format:
    if reader is not None:
        raise Wrong("it belongs to the data: {cloudevents: {…, reader: FILE}}", within=("reader",))
    try:
        inner = Format.read(of)
    except Wrong as wrong:
        within = ("cloudevents", *wrong.within)
        raise Wrong(f"of the events' data: {wrong}", wrong.suggestion, within=within) from None
    if inner.cloudevents:
        raise Wrong("the data of a CloudEvent is no CloudEvent", within=("cloudevents",))
    return Format(
        wire=inner.wire,
        file=inner.file,
        schema=inner.schema,
        others=inner.others,
        registry=inner.registry,
        reader=inner.reader,
        cloudevents=True,
    )


def _url(raw: object, *, within: Path) -> str:
    if isinstance(raw, str):
        if _URL.fullmatch(raw):
            return raw.rstrip("/")
        if re.match(r"https?://[^/]*@", raw):
            message = (
                "a password does not belong in a pipeline file: ingest has PENSTOCK_REGISTRY_USER for it"
            )
            raise Wrong(message, within=within)
    meant = f"http://{raw}" if isinstance(raw, str) and _ADDRESS.fullmatch(raw) else ""
    expected = "expected the URL of a schema registry such as https://registry:8081, or {ID: FILE}"
    raise Wrong(f"{expected}, got {show(raw)}", meant, within=within)


def _id(raw: object) -> str:
    """A schema's id as a registry gives it: a whole number, in an applied spec its digits; or a GUID."""
    text = str(raw).lower()
    if not isinstance(raw, bool) and re.fullmatch(r"0|[1-9]\d{0,9}", text) and int(text) <= _LARGEST_ID:
        return text
    if _GUID.fullmatch(text):
        return text
    where = raw if isinstance(raw, str | int) else text
    message = f"unknown key {show(raw)}: expected url, the id of a schema, or its GUID"
    raise Wrong(message, nearest(raw, ["url"]), within=("confluent", where))


def _unread(wire: object, *, within: Path = ()) -> Wrong:
    match wire:
        case "avro":
            return Wrong("avro needs its schema: {avro: FILE}", within=within)
        case "json":
            return Wrong("json takes nothing more: format: json", within=within)
        case "confluent":
            return Wrong("confluent needs its registry: {confluent: URL}", within=within)
        case "cloudevents":
            return Wrong("cloudevents needs the format of the data: {cloudevents: json}", within=within)
        case str():
            message = f"unknown wire format {show(wire)}: expected {_EXPECTED}"
            return Wrong(message, nearest(wire, [*_WIRES, CONTAINER]), within=within)
        case _:
            return Wrong(f"expected {_EXPECTED}, got {show(wire)}", within=within)


def schema_files(raw: object, prefix: Path = ()) -> Iterator[tuple[Path, str]]:
    """The files that a raw format names, and where; whatever else is wrong with it.

    >>> list(schema_files({"cloudevents": {"avro": ["a.avsc"], "reader": "b.avsc"}}))
    [(('cloudevents', 'avro', 0), 'a.avsc'), (('cloudevents', 'reader'), 'b.avsc')]
    """
    if not isinstance(raw, Mapping):
        return
    for key, value in raw.items():
        match key, value:
            case ("avro", str()) if value and value != CONTAINER:
                yield (*prefix, "avro"), value
            case "avro", list():
                yield from (((*prefix, "avro", at), file) for at, file in enumerate(value) if _is_file(file))
            case "confluent", Mapping():
                found = [(name, file) for name, file in value.items() if name != "url" and _is_file(file)]
                yield from (((*prefix, "confluent", name), file) for name, file in found)
            case "reader", str() if value:
                yield (*prefix, "reader"), value
            case "cloudevents", _ if not prefix:
                yield from schema_files(value, ("cloudevents",))


def _is_file(raw: object) -> bool:
    return isinstance(raw, str) and bool(raw)


AFormat = Annotated[Format, BeforeValidator(Format.read), PlainSerializer(Format.raw)]
JSON: Final = Format()
