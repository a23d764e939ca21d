"""Avro container files, written: a schema, then records, for whatever reads Avro."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import fastavro

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def write_container(file: BinaryIO, schema: Mapping[str, Any], records: Iterable[Mapping[str, Any]]) -> int:
    """Write records to a container; how many.

    >>> import io
    >>> file = io.BytesIO()
    >>> schema = {"type": "record", "name": "P", "fields": [{"name": "x", "type": "long"}]}
    >>> write_container(file, schema, [{"x": 7}, {"x": 8}])
    2
    >>> file.getvalue()[:3]
    b'Obj'
    """
    count = 0

    def counted() -> Iterable[Mapping[str, Any]]:
        nonlocal count
        for count, record in enumerate(records, 1):  # noqa: B007 - the count is told afterwards
            yield record

    fastavro.writer(file, fastavro.parse_schema(dict(schema)), counted(), codec="deflate")
    return count
