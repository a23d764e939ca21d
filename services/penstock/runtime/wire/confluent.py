"""Values as Confluent's serializers write them: which schema, then the body.

The schema is named in front of the body, by magic 0 and the number that a registry gave it (four bytes, big
endian) or by magic 1 and its GUID (16 bytes), or in the header `__value_schema_id` by the same bytes; then
nothing stands in front of the body.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Final

from penstock.kernel.errors import Invalid
from penstock.runtime.records import column
from penstock.runtime.wire.bodies import Bodies
from penstock.runtime.wire.columns import Columns
from penstock.runtime.wire.jsons import read_objects
from penstock.runtime.wire.payloads import sorted_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from penstock.runtime.avro import Schema
    from penstock.runtime.broker import Headers, Record
    from penstock.runtime.wire.registry import Found, Registry
    from penstock.runtime.wire.wanted import Wanted

HEADER: Final = "__value_schema_id"
_NUMBER, _GUID = 5, 17  # bytes of the two names, magic included
_MOST_IDS: Final = 1000
"""Schemas whose decoders are kept."""


class ConfluentValues:
    """Values whose schemas are known by ids.

    Args:
        schemas: those that the pipeline names, by id.
        registry: that knows others; None where the pipeline names no registry.
        wanted: the fields to take.
        reader: the schema whose names they are, where the pipeline names one.
    """

    def __init__(
        self,
        schemas: Mapping[str, Schema],
        registry: Registry | None,
        wanted: Wanted,
        reader: Schema | None,
    ) -> None:
        self._wanted = wanted
        self._paths = wanted.paths
        self._reader = reader
        self._registry = registry
        self._own = {name: Bodies(schema, wanted, reader) for name, schema in schemas.items()}
        self._bodies: OrderedDict[str, Bodies] = OrderedDict()

    def read(self, records: Sequence[Record]) -> Columns:
        places, values, refused = sorted_out(records)
        headers: list[Headers] = column(records, "headers")
        named = any(headers)
        groups: defaultdict[tuple[bytes, bytes], list[int]] = defaultdict(list)
        for at, value in enumerate(values):
            in_header = _in_header(headers[places[at]]) if named else None
            written = _in_front(value) if in_header is None else in_header
            groups[written, b"" if in_header is not None else written].append(at)
        parts = [Columns.none(self._paths, refused)]
        names = {written: _name(written) for written, _ in groups}
        known = self._known({name for name in names.values() if isinstance(name, str)})
        for (written, header), members in groups.items():
            name = names[written]
            found = known[name] if isinstance(name, str) else name
            part = self._part(found, name, [values[at] for at in members], header)
            parts.append(part.moved([places[at] for at in members]))
        return Columns.merged(self._paths, parts)

    def _known(self, names: set[str]) -> dict[str, Bodies | Found | Invalid]:
        """What the ids of a batch stand for."""
        known: dict[str, Bodies | Found | Invalid] = {}
        asked = []
        for name in sorted(names):
            if bodies := self._own.get(name) or self._bodies.get(name):
                known[name] = bodies
            elif self._registry is None:
                message = f"written with schema {name}, which the pipeline file does not name"
                known[name] = Invalid(message, reason="unknown_schema")
            else:
                asked.append(name)
        if asked and self._registry is not None:
            known.update(self._registry.find(asked))
        return known

    def _part(
        self, found: Bodies | Found | Invalid, name: object, payloads: list[bytes], header: bytes
    ) -> Columns:
        if isinstance(found, Invalid):
            return Columns.none(self._paths, dict.fromkeys(range(len(payloads)), found))
        if not isinstance(found, Bodies):
            if found.schema is None:
                return read_objects(self._wanted, payloads, skip=len(header))
            bodies = Bodies(found.schema, self._wanted, self._reader)
            self._bodies[str(name)] = bodies
            if len(self._bodies) > _MOST_IDS:
                self._bodies.popitem(last=False)
            found = bodies
        return found.read(payloads, header=header)


def _in_header(headers: Headers) -> bytes | None:
    """The name of the schema in a record's headers: the last one, where there are several."""
    return next((value for name, value in reversed(headers) if name == HEADER), None)


def _in_front(value: bytes) -> bytes:
    return value[: _GUID if value[0] == 1 else _NUMBER]


def _name(written: bytes) -> str | Invalid:
    """The id, in digits or as a GUID, that is written in front of a value or in its header."""
    if len(written) == _NUMBER and written[0] == 0:
        return str(int.from_bytes(written[1:], "big"))
    if len(written) == _GUID and written[0] == 1:
        return str(uuid.UUID(bytes=written[1:]))
    begins = written[:_NUMBER].hex() or "nothing"
    return Invalid(f"no schema's id stands in front of it: it begins with {begins}", reason="undecodable")
