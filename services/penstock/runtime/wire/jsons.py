"""JSON objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from penstock.kernel.errors import Invalid
from penstock.runtime.wire.columns import Columns
from penstock.runtime.wire.payloads import sorted_out

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from penstock.runtime.broker import Record


class JsonValues:
    """Each value is a JSON object; unknown keys are ignored.

    Args:
        paths: the fields to take.
    """

    def __init__(self, paths: Collection[str]) -> None:
        self._paths = tuple(paths)

    def read(self, records: Sequence[Record]) -> Columns:
        places, values, refused = sorted_out(records)
        read = read_objects(self._paths, values)
        return Columns.merged(self._paths, [read.moved(places), Columns.none(self._paths, refused)])


def read_objects(paths: Collection[str], payloads: Sequence[bytes], *, skip: int = 0) -> Columns:
    """The columns of JSON objects, each behind `skip` bytes that are known already."""
    rows: dict[int, Mapping[str, object]] = {}
    refused: dict[int, Invalid] = {}
    for place, payload in enumerate(payloads):
        try:
            fields = orjson.loads(memoryview(payload)[skip:] if skip else payload)
        except orjson.JSONDecodeError as error:
            refused[place] = Invalid(f"not JSON: {error}", reason="undecodable")
            continue
        if isinstance(fields, dict):
            rows[place] = fields
        else:
            message = f"expected a JSON object, got a {type(fields).__name__}"
            refused[place] = Invalid(message, reason="undecodable")
    return Columns.gather(paths, rows, refused)
