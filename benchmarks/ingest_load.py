"""What the intake benchmark sends: 30 numbers, with three categories or without, as Avro or as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import orjson

from penstock.kernel.pipeline import Pipeline
from penstock.runtime.avro import Schema

NUMBERS: Final = tuple(f"n{index:02d}" for index in range(30))
CATEGORIES: Final = {
    "airport": ["EWR", "JFK", "LGA"],
    "channel": ["web", "mobile", "partner shop", "telephone"],
    "plan": [f"p{index:02d}" for index in range(40)],
}
LEAST, MOST = -100.0, 100.0
"""The range that every number has to be in."""
START: Final = 1_600_000_000_000
"""Event time of the first; the others come a millisecond apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A kind of events.

    Args:
        wire: how they are written.
        categories: whether they have any.
        suffix: of the figures' names.
    """

    wire: Literal["avro", "json"]
    categories: bool
    suffix: str

    @property
    def pipeline(self) -> str:
        return f"{self.wire}-{'mixed' if self.categories else 'numbers'}"

    @property
    def words(self) -> dict[str, list[str]]:
        return CATEGORIES if self.categories else {}

    def topic(self, tenant: str) -> str:
        return f"raw.{tenant}.{self.pipeline}"

    @property
    def schema(self) -> dict[str, Any]:
        """Of an event."""
        fields = [
            {"name": "id", "type": "string"},
            {"name": "t", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            *({"name": name, "type": "string"} for name in self.words),
            *({"name": name, "type": "double"} for name in NUMBERS),
        ]
        return {"type": "record", "name": "Event", "namespace": "bench", "fields": fields}

    def applied(self, tenant: str) -> Pipeline:
        """The pipeline, as services have it."""
        return Pipeline.read(
            {
                "pipeline": self.pipeline,
                "task": "binary",
                "events": {
                    "topic": self.topic(tenant),
                    "format": {"avro": {"schema": self.schema}} if self.wire == "avro" else "json",
                    "id": "id",
                    "time": "t",
                },
                "labels": {
                    "topic": f"{self.topic(tenant)}.labels",
                    "id": "id",
                    "time": "t",
                    "value": "y",
                    "horizon": "36h",
                },
                "features": {
                    **{name: {"category": values} for name, values in self.words.items()},
                    **{name: {"number": {"min": LEAST, "max": MOST}} for name in NUMBERS},
                },
            }
        )

    def events(self, *, first: int, count: int) -> list[tuple[bytes, bytes]]:
        """Keys and values of so many, each with an id and a time of its own."""
        chance = np.random.default_rng(first)
        numbers = chance.normal(size=(count, len(NUMBERS))).astype(np.float32).astype(np.float64)
        words = [
            [known[code] for code in chance.integers(len(known), size=count).tolist()]
            for known in self.words.values()
        ]
        lines = zip(*words, *numbers.T.tolist(), strict=True)
        schema, names = Schema(json.dumps(self.schema)), (*self.words, *NUMBERS)
        return [
            (b"%010d" % index, self._payload(schema, index, dict(zip(names, line, strict=True))))
            for index, line in enumerate(lines, start=first)
        ]

    def _payload(self, schema: Schema, index: int, fields: dict[str, Any]) -> bytes:
        record = {"id": f"{index:010d}", "t": START + index, **fields}
        return orjson.dumps(record) if self.wire == "json" else schema.header + schema.write(record)


VARIANTS: Final = (
    Variant(wire="avro", categories=True, suffix=""),
    Variant(wire="avro", categories=False, suffix="_numbers"),
    Variant(wire="json", categories=True, suffix="_json"),
    Variant(wire="json", categories=False, suffix="_numbers_json"),
)
