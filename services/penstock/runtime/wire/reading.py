"""Reads raw topics, whatever their wire format."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from penstock.kernel.formats import ENVELOPE
from penstock.runtime.avro import Schema
from penstock.runtime.wire.cloudevents import CloudEvents
from penstock.runtime.wire.confluent import ConfluentValues
from penstock.runtime.wire.container import Containers
from penstock.runtime.wire.jsons import JsonValues
from penstock.runtime.wire.registries import Registries
from penstock.runtime.wire.single import SingleObjects
from penstock.runtime.wire.wanted import Wanted

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from penstock.kernel.formats import Format
    from penstock.runtime.broker import Record
    from penstock.runtime.wire.columns import Columns
    from penstock.runtime.wire.payloads import Reads


class Wire:
    """Reads the records of one raw topic.

    Args:
        form: how they are written; Avro schemas have to be inline, as they are in an applied pipeline.
        paths: the fields to take of them.
        registries: knows the schemas that the format leaves to a registry; one that proves itself to nobody
            where left out.
        numbers: those of the fields of which only numbers are wanted.
        words: those that repeat a few words.

    Raises:
        Invalid: a schema is none, or one that is refused.

    >>> from penstock.kernel.formats import Format
    >>> from penstock.runtime.broker import Record
    >>> wire = Wire(Format(wire="json"), ["id", "x"])
    >>> columns = wire.read([Record("crm", 0, each, 0, None, b'{"id": "a"}') for each in range(2)])
    >>> columns.values, columns.places, columns.refused
    ({'id': ['a', 'a'], 'x': [None, None]}, [0, 1], {})
    """

    def __init__(
        self,
        form: Format,
        paths: Collection[str],
        registries: Registries | None = None,
        *,
        numbers: Collection[str] = (),
        words: Collection[str] = (),
    ) -> None:
        if form.files:
            raise ValueError(f"the schema {form.files[0]} is not inline")
        self._reads = _reads(form, Wanted.of(paths, numbers, words), registries or Registries())

    def read(self, records: Sequence[Record]) -> Columns:
        """The fields of a batch; what cannot be read is refused, with what is wrong with it.

        Raises:
            NotYet: a schema is not known yet, or its registry does not answer.
        """
        return self._reads.read(records)


def _reads(form: Format, wanted: Wanted, registries: Registries) -> Reads:
    inside = [path for path in wanted.paths if form.cloudevents and path.startswith(f"{ENVELOPE}.")]
    data = replace(wanted, paths=tuple(path for path in wanted.paths if path not in inside))
    reader = Schema(form.reader.schema) if form.reader else None
    written = {each.id: Schema(each.schema) for each in form.others}
    reads: Reads
    match form.wire:
        case "json":
            reads = JsonValues(data)
        case "avro":
            reads = SingleObjects([Schema(each.schema) for each in form.written], data, reader)
        case "container":
            reads = Containers(data, reader)
        case "confluent":
            registry = registries.at(form.registry) if form.registry else None
            reads = ConfluentValues(written, registry, data, reader)
    return CloudEvents(reads, data.paths, inside) if form.cloudevents else reads
