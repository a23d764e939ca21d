"""JSON objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from penstock.kernel.columns import joined
from penstock.kernel.errors import Invalid
from penstock.runtime.wire.columns import Columns
from penstock.runtime.wire.payloads import sorted_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from penstock.runtime.broker import Record
    from penstock.runtime.wire.wanted import Wanted


_AT_ONCE: Final = 1000
"""Objects that are in memory together: of many more each is slower to reach, and so is memory for them."""


class JsonValues:
    """Each value is a JSON object; unknown keys are ignored.

    Args:
        wanted: the fields to take.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted

    def read(self, records: Sequence[Record]) -> Columns:
        places, values, refused = sorted_out(records)
        read = read_objects(self._wanted, values)
        if not refused:
            return read
        paths = self._wanted.paths
        return Columns.merged(paths, [read.moved(places), Columns.none(paths, refused)])


def read_objects(wanted: Wanted, payloads: Sequence[bytes], *, skip: int = 0) -> Columns:
    """The columns of JSON objects, each behind `skip` bytes that are known already."""
    parts = [
        _read(wanted, payloads[start : start + _AT_ONCE], skip).moved(range(start, len(payloads)))
        for start in range(0, len(payloads), _AT_ONCE)
    ]
    if len(parts) == 1:
        return parts[0]
    return Columns(
        values={path: joined([part.values[path] for part in parts]) for path in wanted.paths},
        places=[place for part in parts for place in part.places],
        refused={place: why for part in parts for place, why in part.refused.items()},
    )


def _read(wanted: Wanted, payloads: Sequence[bytes], skip: int) -> Columns:
    # In the order of the paths, so that they may stand side by side as the features do.
    numbers = [path for path in wanted.paths if path in wanted.numbers]
    rows, refused = _objects(payloads, skip)
    return Columns.gather(wanted.paths, rows, refused, numbers=numbers)


def _objects(
    payloads: Sequence[bytes], skip: int
) -> tuple[Mapping[int, Mapping[str, object]], Mapping[int, Invalid]]:
    """Those that are objects, and what is wrong with the others, by place."""
    bodies: Sequence[Any] = [memoryview(payload)[skip:] for payload in payloads] if skip else payloads
    try:
        values = list(map(orjson.loads, bodies))
    except orjson.JSONDecodeError:
        pass
    else:
        if set(map(type, values)) == {dict}:
            return dict(enumerate(values)), {}
    rows: dict[int, Mapping[str, object]] = {}
    refused: dict[int, Invalid] = {}
    for place, body in enumerate(bodies):
        try:
            fields = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            refused[place] = Invalid(f"not JSON: {error}", reason="undecodable")
            continue
        if isinstance(fields, dict):
            rows[place] = fields
        else:
            message = f"expected a JSON object, got a {type(fields).__name__}"
            refused[place] = Invalid(message, reason="undecodable")
    return rows, refused
