"""Single-object Avro: `C3 01`, the fingerprint of the writer's schema, the body."""

from __future__ import annotations

from collections import defaultdict
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from penstock.kernel.errors import Invalid
from penstock.runtime.avro import HEADER, Schema, fingerprint_of
from penstock.runtime.wire.bodies import Bodies
from penstock.runtime.wire.columns import Columns
from penstock.runtime.wire.payloads import sorted_out

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from penstock.runtime.broker import Record
    from penstock.runtime.wire.wanted import Wanted


_BEGINNING: Final[Callable[[bytes], bytes]] = itemgetter(slice(HEADER))


class SingleObjects:
    """Values written with any of a few schemas.

    Args:
        schemas: those of the writers.
        wanted: the fields to take.
        reader: the schema whose names they are, where the pipeline names one.

    Raises:
        Invalid: two of the schemas have one fingerprint.
    """

    def __init__(self, schemas: Sequence[Schema], wanted: Wanted, reader: Schema | None) -> None:
        self._paths = wanted.paths
        self._schemas = {schema.header: schema for schema in schemas}
        if len(self._schemas) < len(schemas):
            names = ", ".join(schema.name for schema in schemas)
            raise Invalid(
                f"two of the schemas {names} have one fingerprint: records do not say which", reason="schema"
            )
        self._bodies = {header: Bodies(each, wanted, reader) for header, each in self._schemas.items()}

    def read(self, records: Sequence[Record]) -> Columns:
        places, values, refused = sorted_out(records)
        headers = set(map(_BEGINNING, values))
        if len(headers) == 1 and not refused and (bodies := self._bodies.get(header := headers.pop())):
            return bodies.read(values, header=header)
        groups: defaultdict[bytes, list[int]] = defaultdict(list)
        for at, value in enumerate(values):
            groups[value[:HEADER]].append(at)
        parts = [Columns.none(self._paths, refused)]
        for header, members in groups.items():
            where = [places[at] for at in members]
            payloads = [values[at] for at in members]
            if bodies := self._bodies.get(header):
                parts.append(bodies.read(payloads, header=header).moved(where))
            else:
                parts.append(Columns.none(self._paths, dict.fromkeys(where, self._stranger(payloads[0]))))
        return Columns.merged(self._paths, parts)

    def _stranger(self, payload: bytes) -> Invalid:
        try:
            written = fingerprint_of(payload)
        except Invalid as why:
            return why
        known = " or ".join(f"{each.name} ({each.fingerprint.hex()})" for each in self._schemas.values())
        message = f"written with the schema {written.hex()}, the pipeline reads {known}"
        return Invalid(message, reason="unknown_schema")
