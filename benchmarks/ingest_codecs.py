"""The numeric block alone, 30 doubles, by columns and by fastavro, in this process."""

from __future__ import annotations

import io
import json
import statistics
import time
from typing import TYPE_CHECKING, Final

import fastavro
import numpy as np

from benchmarks.ingest_load import NUMBERS, START
from penstock.contracts.records import FeatureRow
from penstock.runtime.avro import Schema
from penstock.runtime.codec import Codec
from penstock.runtime.columnar import AvroColumns, write_rows

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS: Final = 5000
ROUNDS: Final = 15


def codecs() -> dict[str, float]:
    """Ratios of processor time, medians over rounds in turn."""
    fields = [{"name": name, "type": "double"} for name in NUMBERS]
    schema = Schema(json.dumps({"type": "record", "name": "Numbers", "fields": fields}))
    matrix = np.random.default_rng(7).normal(size=(ROWS, len(NUMBERS)))
    records = [dict(zip(NUMBERS, line, strict=True)) for line in matrix.tolist()]
    bodies = [schema.write(record) for record in records]
    reader = AvroColumns.compile(schema, NUMBERS)
    if reader is None:
        raise TypeError("30 doubles are not read by columns")
    rows = Codec().rows(FeatureRow, "bench", "00ff", NUMBERS)
    ids = [f"{index:010d}" for index in range(ROWS)]
    times = START + np.arange(ROWS)
    heads = [
        {"id": name, "time": at, "cleared": (), "flags": (), "features": record}
        for name, at, record in zip(ids, times.tolist(), records, strict=True)
    ]
    none: list[tuple[()]] = [()] * ROWS

    def by_fastavro() -> None:
        for body in bodies:
            fastavro.schemaless_reader(io.BytesIO(body), schema.parsed, None)

    def written_by_fastavro() -> None:
        for head in heads:
            out = io.BytesIO()
            fastavro.schemaless_writer(out, rows.schema.parsed, head)
            out.getvalue()

    return {
        "decode_vs_fastavro": _ratio(by_fastavro, lambda: reader.read(bodies)),
        "encode_vs_fastavro": _ratio(
            written_by_fastavro,
            lambda: write_rows(rows, ids=ids, times=times, cleared=none, flags=none, matrix=matrix),
        ),
    }


def _ratio(slow: Callable[[], object], fast: Callable[[], object]) -> float:
    fast()
    ratios = []
    for _ in range(ROUNDS):
        began = time.process_time()
        slow()
        between = time.process_time()
        fast()
        ratios.append((between - began) / (time.process_time() - between))
    return round(statistics.median(ratios), 1)
