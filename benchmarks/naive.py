"""Intake as one would first write it: `python -m benchmarks.naive BOOTSTRAP TENANT`.

Consume, decode each record, check each field, encode each row, produce it; in transactions, with the client
settings of the product. What comes out is byte for byte what the product writes.
"""

from __future__ import annotations

import io
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import confluent_kafka as ck
import fastavro
import orjson

from benchmarks.ingest_load import LEAST, MOST, NUMBERS, VARIANTS, Variant
from penstock.contracts.records import FeatureRow
from penstock.runtime.codec import row_schema

COMMIT: Final = 0.2
"""Seconds between two commits."""


Row = Callable[[bytes], tuple[bytes, bytes]]


def make_row(variant: Variant, tenant: str) -> Row:
    """From an event's bytes to key and value of its feature row."""
    pipeline = variant.applied(tenant)
    schema = row_schema(FeatureRow.__name__, pipeline.name, pipeline.features_digest, pipeline.feature_names)
    event = fastavro.parse_schema(json.loads(json.dumps(variant.schema).replace("timestamp-millis", "none")))
    codes = {
        name: {word: float(index + 1) for index, word in enumerate(words)}
        for name, words in variant.words.items()
    }

    def row(payload: bytes) -> tuple[bytes, bytes]:
        if variant.wire == "json":
            record = orjson.loads(payload)
        else:
            record = fastavro.schemaless_reader(io.BytesIO(payload[10:]), event, None)
        head = {
            "id": checked(record, "id", str),
            "time": checked(record, "t", int),
            "cleared": (),
            "flags": (),
            "features": features(record, codes),
        }
        out = io.BytesIO()
        out.write(schema.header)
        fastavro.schemaless_writer(out, schema.parsed, head)
        return head["id"].encode(), out.getvalue()

    return row


def checked(record: dict[str, Any], field: str, kind: type) -> Any:
    value = record.get(field)
    if not isinstance(value, kind) or isinstance(value, bool) or not value:
        raise TypeError(f"{field} is {value!r}")
    return value


def features(record: dict[str, Any], codes: dict[str, dict[str, float]]) -> dict[str, float]:
    """Each field checked, by name."""
    found = {field: known.get(checked(record, field, str), 0.0) for field, known in codes.items()}
    for field in NUMBERS:
        value = record.get(field)
        if value is None:
            value = math.nan
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{field} is {value!r}")
        elif not LEAST <= value <= MOST:
            value = math.nan
        found[field] = value
    return found


def run(bootstrap: str, tenant: str, stop: threading.Event) -> None:
    """Until told to stop."""
    rows = {variant.topic(tenant): make_row(variant, tenant) for variant in VARIANTS}
    outputs = {variant.topic(tenant): f"{tenant}.{variant.pipeline}.features" for variant in VARIANTS}
    consumer = ck.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{tenant}.intake",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 10,
        }
    )
    producer = ck.Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": f"{tenant}.intake-0",
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 5,
            "retry.backoff.ms": 5,
            "retry.backoff.max.ms": 20,
        }
    )
    producer.init_transactions()
    consumer.subscribe(list(rows))
    while not stop.is_set():
        messages = consumer.consume(500, 0.05)
        if not messages:
            continue
        producer.begin_transaction()
        ends, until = {}, time.monotonic() + COMMIT
        while messages:
            for message in messages:
                if message.error():
                    raise ck.KafkaException(message.error())
                topic, number, offset = str(message.topic()), message.partition(), message.offset()
                key, value = rows[topic](message.value() or b"")
                producer.produce(outputs[topic], value, key)
                ends[topic, number or 0] = (offset or 0) + 1
            producer.poll(0)
            messages = consumer.consume(500, 0.01) if time.monotonic() < until else []
        offsets = [ck.TopicPartition(topic, number, offset) for (topic, number), offset in ends.items()]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
        producer.commit_transaction()
    consumer.close()


def main() -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    run(sys.argv[1], sys.argv[2], stop)


if __name__ == "__main__":
    main()
