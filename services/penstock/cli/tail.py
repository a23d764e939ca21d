"""Print a topic's last records, and with -f those that follow.

Single-object Avro is decoded by the schemas topic; JSON is shown as it is, anything else as hexadecimal.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import orjson

from penstock.cli.address import add_broker
from penstock.cli.cluster import connected, full_name, settings_of
from penstock.cli.exits import Exit
from penstock.cli.output import as_json
from penstock.kernel.errors import Invalid
from penstock.runtime.avro import HEADER, Schema, fingerprint_of
from penstock.runtime.broker import TopicPartition
from penstock.runtime.deadletter import HEADER as DEAD_LETTER
from penstock.runtime.fold import read_range

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from penstock.runtime.broker import Broker, Record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", metavar="TOPIC", help="with or without the prefix")
    parser.add_argument("-n", type=int, default=10, metavar="COUNT", help="how many (%(default)s)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    with connected(settings) as broker:
        topics = broker.topics()
        topic = full_name(args.topic, settings.prefix, topics)
        partitions = [TopicPartition(topic, number) for number in range(topics[topic])]
        decoder = Decoder(broker, f"{settings.prefix}schemas")
        form = "json" if args.output == "json" else "line"
        ends = broker.ends(partitions)
        for record in last(broker, ends, args.n):
            print(shown(record, decoder, form), flush=True)
        if args.follow:
            for record in _following(broker, {partition: end for partition, (_, end) in ends.items()}):
                print(shown(record, decoder, form), flush=True)
    return Exit.OK


def last(broker: Broker, ends: Mapping[TopicPartition, tuple[int, int]], count: int) -> list[Record]:
    """The last records before these ends, in the order of time.

    Offsets are not records: transactions leave markers and compaction holes, so the window grows until it
    holds enough.
    """
    window = max(count, 1)
    while True:
        starts = {partition: max(first, end - window) for partition, (first, end) in ends.items()}
        ranges = {partition: (starts[partition], end) for partition, (_, end) in ends.items()}
        records = [record for batch in read_range(broker, ranges) for record in batch]
        whole = all(starts[partition] == first for partition, (first, _) in ends.items())
        if len(records) >= count or whole:
            records.sort(key=lambda it: (it.timestamp, it.partition, it.offset))
            return records[max(len(records) - count, 0) :]
        window *= 4


def _following(broker: Broker, offsets: Mapping[TopicPartition, int]) -> Iterator[Record]:
    reader = broker.reader(offsets)
    try:
        while True:
            yield from reader.poll(100, 1.0).records
    finally:
        reader.close()


class Decoder:
    """Payloads as plain values, by the schemas topic; it is read again where a fingerprint is not known."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._broker = broker
        self._topic = topic
        self._schemas: dict[bytes, Schema] = {}
        self._missing: deque[bytes] = deque(maxlen=1_000)

    def decode(self, payload: bytes) -> object:
        """What the payload says; bytes where nobody can tell."""
        if payload[:1] in (b"{", b"["):
            try:
                return orjson.loads(payload)
            except orjson.JSONDecodeError:
                return payload
        try:
            schema = self._schema(fingerprint_of(payload))
            return schema.read(payload[HEADER:]) if schema else payload
        except Invalid:
            return payload

    def _schema(self, fingerprint: bytes) -> Schema | None:
        if fingerprint not in self._schemas and fingerprint not in self._missing:
            self._read()
            if fingerprint not in self._schemas:
                self._missing.append(fingerprint)
        return self._schemas.get(fingerprint)

    def _read(self) -> None:
        count = self._broker.topics().get(self._topic, 0)
        ends = self._broker.ends(TopicPartition(self._topic, number) for number in range(count))
        for batch in read_range(self._broker, ends):
            for record in batch:
                if record.value is not None:
                    schema = Schema(record.value)
                    self._schemas[schema.fingerprint] = schema


def shown(record: Record, decoder: Decoder, form: str) -> str:
    """One line: a JSON object, or place, key and value."""
    key = None if record.key is None else record.key.decode("utf-8", errors="backslashreplace")
    value = None if record.value is None else decoder.decode(record.value)
    refusal = next((decoder.decode(item) for name, item in record.headers if name == DEAD_LETTER), None)
    if form == "json":
        fields: dict[str, Any] = {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "key": key,
            "value": value,
        }
        if refusal is not None:
            fields["dead_letter"] = refusal
        return as_json(fields)
    place = f"{record.partition}:{record.offset}"
    said = "" if refusal is None else f"  {as_json(refusal)}"
    return f"{place:<8}  {key or '–'}  {as_json(value)}{said}"
