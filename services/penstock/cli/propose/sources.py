"""A sample as intake will read it: its wire format, its fields, and a column for each."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from penstock.cli.exits import Exit, Failure
from penstock.cli.output import counted
from penstock.cli.propose.fields import Field, look_at
from penstock.cli.propose.paths import of_type, of_values
from penstock.cli.propose.wires import Guess, guess
from penstock.cli.registries import registries_here
from penstock.cli.sampled.reading import read_columns
from penstock.kernel.avrotypes import read_type
from penstock.kernel.errors import Invalid
from penstock.kernel.formats import ENVELOPE, AvroSchema, Format
from penstock.runtime.avro import Schema, read_container
from penstock.runtime.errors import NotYet
from penstock.runtime.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from penstock.cli.sampled.reading import Sample
    from penstock.runtime.broker import Record
    from penstock.runtime.wire import Columns, Registries

_HEADERS: Final = "ce_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schemas:
    """What the operator knows of the schemas: files, some by the id a registry gave them, and a registry.

    Args:
        files: of Avro schemas.
        by_id: the same, by id or GUID.
        registry: its URL; '' where none is named.
        folder: where the pipeline file will lie, to which its files are relative.
    """

    files: Sequence[Path] = ()
    by_id: Mapping[str, Path] = field(default_factory=dict)
    registry: str = ""
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A topic's sample, read.

    Args:
        sample: what was read of the topic.
        guess: how it is written.
        form: the wire format, its schemas inline.
        raw: the wire format as the pipeline file says it.
        columns: every field of every record.
        records: those that became rows, in the order of the columns.
        fields: what each field holds, by path.
    """

    sample: Sample
    guess: Guess
    form: Format
    raw: object
    columns: Columns
    records: Sequence[Record]
    fields: Mapping[str, Field]

    @property
    def stamps(self) -> list[int]:
        return [record.timestamp for record in self.records]

    def keyed(self) -> dict[str, float]:
        """Path → the share of records whose key is that value."""
        found = {}
        for path, each in self.fields.items():
            same = sum(
                self.records[place].key == str(value).encode()
                for place, value in zip(each.places, each.values, strict=True)
            )
            if same:
                found[path] = same / len(self.records)
        return found


def read_source(sample: Sample, schemas: Schemas, *, seconds: float) -> Source:
    """Read a sample with all its fields.

    Raises:
        Failure: there is no record (1), it is written in no way that is known (1), or which schemas it is
            written with has to be said (2).
    """
    topic = sample.topic
    if not sample.records:
        raise Failure(f"{sample.told()}: there is nothing to learn from", Exit.FAILED)
    guessed = guess(sample.records)
    if guessed.form in {"unknown", "empty"}:
        begins = " or ".join(guessed.begins)
        what = "no value has anything in it" if guessed.form == "empty" else f"values begin with {begins}"
        raise Failure(f"{topic}: no wire format is recognised: {what}", Exit.FAILED)
    registries = registries_here()
    form, raw = _format(topic, guessed, schemas)
    paths = _paths(guessed, form, registries)
    columns = read_columns(Wire(form, paths, registries), sample.records, seconds=seconds)
    if not columns.places:
        why = next(iter(columns.refused.values()))
        raise Failure(f"{topic}: not one record can be read: {why}", Exit.FAILED)
    records = [sample.records[place] for place in columns.places]
    stamps = [record.timestamp for record in records]
    looked = {path: look_at(path, plain(columns, path), stamps) for path in paths}
    return Source(
        sample=sample,
        guess=guessed,
        form=form,
        raw=raw,
        columns=columns,
        records=records,
        fields={path: each for path, each in looked.items() if each.present},
    )


def plain(columns: Columns, path: str) -> Sequence[object]:
    """A column as a list in which None is what is missing."""
    values: Any = columns.values[path]
    plain: Sequence[object] = values.tolist() if hasattr(values, "tolist") else values
    return [None if value != value else value for value in plain]  # noqa: PLR0124 - NaN alone is not itself


def _format(topic: str, guessed: Guess, schemas: Schemas) -> tuple[Format, object]:
    """The format with its schemas inline, and as the file says it."""
    match guessed.form:
        case "single":
            form, raw = _single(topic, guessed, schemas)
        case "confluent":
            form, raw = _confluent(topic, guessed, schemas)
        case "container":
            form, raw = Format(wire="container"), {"avro": "container"}
        case _:
            form, raw = Format(), "json"
    if guessed.envelope == "none":
        return form, raw
    return replace(form, cloudevents=True), {"cloudevents": raw}


def _single(topic: str, guessed: Guess, schemas: Schemas) -> tuple[Format, object]:
    known = {}
    for path in (*schemas.files, *schemas.by_id.values()):
        schema = _schema(path)
        known[schema.fingerprint.hex()] = (path, schema)
    named = [known[name] for name in guessed.names if name in known]
    if not named:
        count = counted(len(guessed.names), "schema")
        message = f"{topic} holds single-object Avro of {count} ({', '.join(guessed.names[:3])})"
        raise Failure(f"{message}: give --schema FILE, the Avro schema its producers write with", Exit.USAGE)
    files = [_relative(path, schemas.folder) for path, _ in named]
    inline = [AvroSchema(schema=schema.text) for _, schema in named]
    form = Format(wire="avro", schema=inline[0].schema, others=tuple(inline[1:]))
    return form, {"avro": files[0] if len(files) == 1 else files}


def _confluent(topic: str, guessed: Guess, schemas: Schemas) -> tuple[Format, object]:
    if schemas.registry:
        return Format(wire="confluent", registry=schemas.registry), {"confluent": schemas.registry}
    named = {name: schemas.by_id[name] for name in guessed.names if name in schemas.by_id}
    if not named:
        ids = ", ".join(guessed.names[:5])
        example = f"--schema {guessed.names[0]}=FILE" if guessed.names else "--schema ID=FILE"
        message = f"{topic} is written as Confluent's serializers do, with the schemas {ids} of a registry"
        raise Failure(f"{message}: give --registry URL, or {example}", Exit.USAGE)
    inline = tuple(AvroSchema(schema=_schema(path).text, id=name) for name, path in sorted(named.items()))
    raw = {
        int(name) if name.isdigit() else name: _relative(path, schemas.folder) for name, path in named.items()
    }
    return Format(wire="confluent", others=inline), {"confluent": raw}


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder)


def _schema(path: Path) -> Schema:
    try:
        return Schema(path.read_text("utf-8"))
    except (Invalid, UnicodeDecodeError) as error:
        raise Failure(f"{path}: {error}", Exit.INVALID) from error


def _paths(guessed: Guess, form: Format, registries: Registries) -> list[str]:
    """The fields that the records have."""
    described = [orjson.loads(each.schema) for each in form.written if each.schema]
    if form.registry:
        try:
            found = registries.at(form.registry).find(list(guessed.names))
        except NotYet as away:
            raise Failure(str(away), Exit.UNREACHABLE) from away
        described = [
            each.schema.raw for each in found.values() if not isinstance(each, Invalid) and each.schema
        ]
    own = [path for each in described for path in of_type(read_type(each))]
    if not described:
        own = of_values(_values(guessed))
    return list(dict.fromkeys([*own, *_attributes(guessed)]))


def _values(guessed: Guess) -> Iterator[Mapping[str, Any]]:
    """The records as plain values, where they say themselves what they hold."""
    for record in guessed.records:
        value = record.value or b""
        if guessed.form == "container":
            try:
                yield from (each for each in read_container(io.BytesIO(value)) if isinstance(each, Mapping))
            except Invalid:
                continue
            continue
        parsed = orjson.loads(value[value.index(b"{") :])
        inner = parsed.get("data") if guessed.envelope == "structured" else parsed
        if isinstance(inner, Mapping):
            yield inner


def _attributes(guessed: Guess) -> list[str]:
    """What the envelopes of CloudEvents say beside their data."""
    found: dict[str, None] = {}
    for record in guessed.records:
        if guessed.envelope == "binary":
            names = [name.lower() for name, _ in record.headers]
            found |= dict.fromkeys(name.removeprefix(_HEADERS) for name in names if name.startswith(_HEADERS))
        elif guessed.envelope == "structured":
            found |= dict.fromkeys(orjson.loads(record.value or b"{}").keys() - {"data", "data_base64"})
    return [f"{ENVELOPE}.{name}" for name in sorted(found)]
