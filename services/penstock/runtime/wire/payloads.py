"""What one record holds, before anything is decoded: there is a value, and it is not too large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from penstock.kernel.errors import Invalid
from penstock.runtime.avro import LARGEST
from penstock.runtime.records import column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.runtime.broker import Record
    from penstock.runtime.wire.columns import Columns


class Reads(Protocol):
    """Reads a batch of records of one wire format."""

    def read(self, records: Sequence[Record]) -> Columns:
        """The columns of those that can be read.

        Raises:
            NotYet: something that is needed for it is still on its way.
        """
        ...


def value_of(record: Record) -> bytes:
    """The value, which is looked at no further where it is none or too large.

    Raises:
        Invalid: that is so.
    """
    value = record.value
    if not value:
        raise Invalid("the record has no value", reason="empty")
    if len(value) > LARGEST:
        raise Invalid(f"{len(value)} bytes, at most {LARGEST} are read", reason="too_large")
    return value


def sorted_out(records: Sequence[Record]) -> tuple[list[int], list[bytes], dict[int, Invalid]]:
    """Places and values of the records that have one, and what is wrong with the others."""
    found: list[Any] = column(records, "value")
    if all(found) and max(map(len, found), default=0) <= LARGEST:
        return list(range(len(found))), found, {}
    refused: dict[int, Invalid] = {}
    places, values = [], []
    for place, (record, value) in enumerate(zip(records, found, strict=True)):
        if value and len(value) <= LARGEST:
            places.append(place)
            values.append(value)
        else:
            try:
                value_of(record)
            except Invalid as why:
                refused[place] = why
    return places, values, refused
