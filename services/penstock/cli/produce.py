"""Send the records of a file to a topic, in their order.

The file is an Avro container (.avro), JSON lines (.jsonl, .ndjson) or CSV with a header line (.csv).
Records are sent as JSON, or with --schema as single-object Avro.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from penstock.cli.address import add_broker
from penstock.cli.cluster import connected, full_name, settings_of
from penstock.cli.exits import Exit, Failure
from penstock.cli.output import as_json
from penstock.kernel.errors import Invalid
from penstock.runtime.avro import Schema, read_container
from penstock.runtime.broker import Message, Topic

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping

    from penstock.runtime.broker import Producer

    Record = Mapping[str, Any]

FLUSH_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--key", metavar="FIELD", help="the field that becomes the record's key")
    parser.add_argument("--schema", type=Path, metavar="FILE", help="send single-object Avro of this schema")
    parser.add_argument(
        "--create", type=int, metavar="PARTITIONS", help="create the topic where there is none"
    )
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    encode = encoder(args.schema.read_text("utf-8") if args.schema else None)
    records = read(args.file)
    settings = settings_of(args)
    with connected(settings) as broker:
        topics = broker.topics()
        if args.create and args.topic not in topics:
            broker.create([Topic(name=args.topic, partitions=args.create)])
            topic = args.topic
        else:
            topic = full_name(args.topic, settings.prefix, topics)
        producer = broker.producer()
        try:
            count = send(producer, (message(topic, record, args.key, encode) for record in records))
        finally:
            producer.close()
    if args.output == "json":
        print(as_json({"topic": topic, "records": count}))
    else:
        print(f"{count:,} records sent to {topic}", file=sys.stderr)
    return Exit.OK


def read(path: Path) -> Iterator[Record]:
    """The records of a file, by its ending.

    Raises:
        Failure: the ending says nothing, or a line is not a record.
    """
    match path.suffix.lower():
        case ".avro":
            with path.open("rb") as file:
                yield from read_container(file)
        case ".jsonl" | ".ndjson" | ".json":
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield _json(line, f"{path}:{number}")
        case ".csv":
            with path.open(newline="", encoding="utf-8-sig") as text:
                for row in csv.DictReader(text):
                    yield {name: number_or_text(text) for name, text in row.items()}
        case other:
            raise Failure(
                f"{path}: cannot read '{other}', expected .avro, .jsonl, .ndjson or .csv", Exit.USAGE
            )


def encoder(schema: str | None) -> Callable[[Record], bytes]:
    """Records as JSON, or as single-object Avro of a schema."""
    if schema is None:
        return orjson.dumps
    parsed = Schema(schema)
    return lambda record: parsed.header + parsed.write(record)


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
        raise Failure(f"{left:,} of {count:,} records could not be sent", Exit.UNREACHABLE)
    return count


def _json(line: bytes, where: str) -> Record:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Failure(f"{where}:{error.colno}: not JSON: {error.msg}", Exit.INVALID) from error
    if not isinstance(record, dict):
        raise Failure(f"{where}:1: expected a JSON object", Exit.INVALID)
    return record


def number_or_text(text: str | None) -> float | str | None:
    """A cell is a number where it reads as one, and nothing where it is empty.

    >>> [number_or_text(text) for text in ("7", "7.5", "", "EWR")]
    [7, 7.5, None, 'EWR']
    """
    if not text:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
