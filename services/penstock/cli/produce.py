"""Send the records of a file to a topic, in their order.

The file is an Avro container (.avro), JSON lines (.jsonl, .ndjson) or CSV with a header line (.csv).
Records are sent as JSON, or with --schema as single-object Avro.

The cells of a CSV are what --schema says they are, or the applied pipeline that reads this topic: a category
stays text, a boolean is true or false (or yes, no, 1, 0), an id is kept as it stands. Elsewhere a cell is a
number only where it is written as JSON writes it (007 and 1_000 stay text), and --key is text. An empty cell
is missing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from penstock.cli.address import add_broker
from penstock.cli.applied import applied
from penstock.cli.cells import of_schema, of_topic, text
from penstock.cli.cluster import connected, full_name, settings_of
from penstock.cli.exits import Exit, Failure
from penstock.cli.numbers import count as at_least_one
from penstock.cli.output import as_json, counted
from penstock.cli.recordfile import read
from penstock.kernel.errors import Invalid
from penstock.kernel.mistakes import Wrong
from penstock.kernel.names import topic as topic_name
from penstock.runtime.avro import Schema
from penstock.runtime.broker import Message, Topic
from penstock.runtime.catalog import Names

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping

    from penstock.runtime.broker import Broker, Producer

    Record = Mapping[str, Any]

FLUSH_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--key", metavar="FIELD", help="the field that becomes the record's key")
    parser.add_argument("--schema", type=Path, metavar="FILE", help="send single-object Avro of this schema")
    parser.add_argument(
        "--create",
        type=at_least_one,
        metavar="PARTITIONS",
        help="create the topic where there is none",
    )
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    schema = Schema(args.schema.read_text("utf-8")) if args.schema else None
    encode = encoder(schema)
    settings = settings_of(args)
    with connected(settings) as broker:
        topic = _topic(broker, args.topic, settings.prefix, create=args.create)
        if schema is None:
            readers = of_topic(topic, applied(broker, Names(settings.prefix)))
        else:
            readers = of_schema(schema.raw)
        records = read(args.file, {**({args.key: text} if args.key else {}), **readers})
        producer = broker.producer()
        try:
            count = send(producer, (message(topic, record, args.key, encode) for record in records))
        finally:
            producer.close()
    if args.output == "json":
        print(as_json({"topic": topic, "records": count}))
    else:
        print(f"{counted(count, 'record')} sent to {topic}", file=sys.stderr)
    return Exit.OK


def _topic(broker: Broker, given: str, prefix: str, *, create: int | None) -> str:
    """The topic's full name; it is made where there is none and that was asked for."""
    topics = broker.topics()
    if create is None or given in topics:
        return full_name(given, prefix, topics)
    try:
        broker.create([Topic(name=topic_name(given), partitions=create)])
    except Wrong as wrong:
        raise Failure(f"--topic: {wrong}", Exit.USAGE) from wrong
    return given


def encoder(schema: Schema | None) -> Callable[[Record], bytes]:
    """Records as JSON, or as single-object Avro of a schema."""
    if schema is None:
        return orjson.dumps
    return lambda record: schema.header + schema.write(record)


def message(topic: str, record: Record, key: str | None, encode: Callable[[Record], bytes]) -> Message:
    """One record as it is sent.

    Raises:
        Invalid: the key's field is missing, or the record does not fit the schema.
    """
    if key is not None and record.get(key) is None:
        raise Invalid(f"a record has no field '{key}': {as_json(record)[:200]}", field=key)
    try:
        value = encode(record)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise Invalid(f"a record does not fit: {error}: {as_json(record)[:200]}") from error
    return Message(topic, value, None if key is None else str(record[key]).encode())


def send(producer: Producer, messages: Iterator[Message]) -> int:
    """Send all; how many.

    Raises:
        Failure: some did not arrive.
    """
    count = 0
    for each in messages:
        while not producer.send(each):
            producer.flush(0.1)
        count += 1
    left = producer.flush(FLUSH_SECONDS) + producer.failed()
    if left:
        raise Failure(f"{left:,} of {counted(count, 'record')} could not be sent", Exit.UNREACHABLE)
    return count
