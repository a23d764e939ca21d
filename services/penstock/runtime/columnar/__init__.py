"""Avro by columns: a batch of records is decoded, or encoded, field by field instead of record by record.

`penstock.runtime.avro` reads anything, one record at a time, at some microseconds each. This package compiles
a schema into steps that each take one field of the whole batch out of the payloads laid end to end, with
NumPy. It takes what real producers' flat records are made of, and leaves to the other what it does not: a
schema that it cannot compile, and any single record that is not exactly as the steps expect.
"""

from __future__ import annotations

from penstock.runtime.columnar.compile import AvroColumns
from penstock.runtime.columnar.heads import Rows, read_rows
from penstock.runtime.columnar.rows import write_rows

__all__ = ["AvroColumns", "Rows", "read_rows", "write_rows"]
