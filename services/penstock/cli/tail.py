"""Print a topic's last records, and with -f those that follow.

A line is partition and offset, key, the record's name, value. Single-object Avro is decoded by the schemas
topic, and by the schemas of applied pipelines; JSON is shown as it is, anything else as hexadecimal: these
two have no name.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from penstock.cli.address import add_broker
from penstock.cli.applied import applied, whole
from penstock.cli.cluster import connected, full_name, settings_of
from penstock.cli.exits import Exit
from penstock.cli.numbers import count_or_none
from penstock.cli.output import as_json
from penstock.contracts.schemas import ROWS
from penstock.kernel.errors import Invalid
from penstock.runtime.avro import HEADER, Schema, fingerprint_of
from penstock.runtime.broker import TopicPartition
from penstock.runtime.catalog import Names
from penstock.runtime.deadletter import HEADER as DEAD_LETTER
from penstock.runtime.fold import read_range

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from penstock.runtime.broker import Broker, Record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", metavar="TOPIC", help="with or without the prefix")
    parser.add_argument("-n", type=count_or_none, default=10, metavar="COUNT", help="how many (%(default)s)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    with connected(settings) as broker:
        topics = broker.topics()
        topic = full_name(args.topic, settings.prefix, topics)
        partitions = [TopicPartition(topic, number) for number in range(topics[topic])]
        decoder = Decoder(broker, settings.prefix)
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


class Decoded(NamedTuple):
    """What a payload says."""

    name: str | None
    """Of the record: `Prediction`; None of JSON, and where nobody can tell."""
    value: object
    """Plain values; the bytes themselves where nobody can tell."""


class Decoder:
    """Payloads as plain values, by the schemas topic and the schemas in applied pipelines.

    Both are read again where a fingerprint is not known.
    """

    def __init__(self, broker: Broker, prefix: str) -> None:
        self._broker = broker
        self._names = Names(prefix)
        self._schemas: dict[bytes, Schema] = {}
        self._missing: deque[bytes] = deque(maxlen=1_000)

    def decode(self, payload: bytes) -> Decoded:
        if payload[:1] in (b"{", b"["):
            try:
                return Decoded(None, orjson.loads(payload))
            except orjson.JSONDecodeError:
                return Decoded(None, payload)
        try:
            schema = self._schema(fingerprint_of(payload))
            if schema is not None:
                return Decoded(record_name(schema.name), schema.read(payload[HEADER:]))
        except Invalid:
            pass
        return Decoded(None, payload)

    def _schema(self, fingerprint: bytes) -> Schema | None:
        if fingerprint not in self._schemas and fingerprint not in self._missing:
            for text in self._texts():
                with suppress(Invalid):  # one that is refused decodes nothing
                    schema = Schema(text)
                    self._schemas[schema.fingerprint] = schema
            if fingerprint not in self._schemas:
                self._missing.append(fingerprint)
        return self._schemas.get(fingerprint)

    def _texts(self) -> Iterator[str | bytes]:
        for record in whole(self._broker, self._names.of("schemas")):
            if record.value is not None:
                yield record.value
        for pipeline in applied(self._broker, self._names):
            for source in (pipeline.events, pipeline.labels):
                yield from (each.schema for each in source.format.written)


def record_name(schema: str) -> str:
    """A record's name as the README's table of topics has it.

    >>> record_name("penstock.FeatureRow_churn_0123456789abcdef"), record_name("org.example.Departure_v2")
    ('FeatureRow', 'Departure_v2')
    """
    name = schema.rpartition(".")[2]
    kind = name.partition("_")[0]
    return kind if kind in ROWS else name


def shown(record: Record, decoder: Decoder, form: str) -> str:
    """One line: a JSON object, or place, key, name and value."""
    key = None if record.key is None else record.key.decode("utf-8", errors="backslashreplace")
    name, value = Decoded(None, None) if record.value is None else decoder.decode(record.value)
    refusal = next((decoder.decode(item).value for head, item in record.headers if head == DEAD_LETTER), None)
    if form == "json":
        fields: dict[str, Any] = {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "key": key,
            "record": name,
            "value": value,
        }
        if refusal is not None:
            fields["dead_letter"] = refusal
        return as_json(fields)
    place = f"{record.partition}:{record.offset}"
    said = "" if refusal is None else f"  {as_json(refusal)}"
    return f"{place:<8}  {key or '–'}  {name or '–'}  {as_json(value)}{said}"
