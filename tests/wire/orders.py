"""One record, as producers of every wire format write it."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

from penstock.runtime.broker import Headers
from tests.wire.written import GUID, body, container, guided, numbered, single

ORDER: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "total", "type": ["null", "double"]},
        {
            "name": "buyer",
            "type": [
                "null",
                {
                    "type": "record",
                    "name": "Buyer",
                    "fields": [
                        {"name": "age", "type": ["null", "int"]},
                        {
                            "name": "plan",
                            "type": {"type": "enum", "name": "Plan", "symbols": ["FREE", "PRO"]},
                        },
                    ],
                },
            ],
        },
    ],
}
FULL = {"id": "a", "total": 2.5, "buyer": {"age": 41, "plan": "PRO"}}
BARE = {"id": "b", "total": None, "buyer": None}
PATHS = ("id", "total", "buyer.age", "buyer.plan")
OUT = [("a", 2.5, 41, "PRO"), ("b", None, None, None)]
ID_IN_HEADER = "__value_schema_id"


def reasons(columns: Any) -> dict[int, str]:
    return {place: why.reason for place, why in columns.refused.items()}


def none_for_nan(found: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """A column of doubles says NaN for what is missing."""
    return [
        tuple(None if isinstance(each, float) and math.isnan(each) else each for each in row) for row in found
    ]


def written(form: str, fields: Any) -> tuple[bytes, Headers]:
    """How a producer of this format writes a record."""
    avro, plain = body(ORDER, fields), json.dumps(fields).encode()
    event = {"specversion": "1.0", "id": "e-1"}
    in_base64 = {**event, "data_base64": base64.b64encode(numbered(7, avro)).decode()}
    binary: Headers = (("ce_specversion", b"1.0"), ("ce_id", b"e-1"))
    structured: Headers = (("content-type", b"application/cloudevents+json; charset=utf-8"),)
    forms: dict[str, tuple[bytes, Headers]] = {
        "json": (plain, ()),
        "avro": (single(ORDER, fields), ()),
        "magic 0": (numbered(7, avro), ()),
        "magic 1": (guided(GUID, avro), ()),
        "guid header": (avro, ((ID_IN_HEADER, guided(GUID)),)),
        "id header": (avro, ((ID_IN_HEADER, numbered(7, b"")),)),
        "container": (container(ORDER, fields), ()),
        "deflate": (container(ORDER, fields, codec="deflate"), ()),
        "bzip2": (container(ORDER, fields, codec="bzip2"), ()),
        "xz": (container(ORDER, fields, codec="xz"), ()),
        "ce binary": (plain, (*binary, ("content-type", b"application/json"))),
        "ce structured": (json.dumps({**event, "data": fields}).encode(), structured),
        "ce without a content type": (json.dumps({**event, "data": fields}).encode(), ()),
        "ce of avro": (numbered(7, avro), binary),
        "ce of avro in base64": (json.dumps(in_base64).encode(), structured),
    }
    return forms[form]
