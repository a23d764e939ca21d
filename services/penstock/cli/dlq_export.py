"""Write dead letters to a file, for whoever mends the producer: reason, origin, key, value, headers.

    penstock dlq export churn --reason wrong_type -o letters.jsonl
    penstock dlq export churn --state all -o letters.avro
    penstock dlq export churn | jq -r .message

JSON lines go to stdout where no file is named; keys, values and headers are base64 there, and bytes in an
Avro container. A letter that does not hold its record has neither key nor value.
"""

from __future__ import annotations

import sys
import time
from base64 import b64encode
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from penstock.cli.address import add_broker
from penstock.cli.cluster import connected, settings_of
from penstock.cli.exits import Exit, Failure
from penstock.cli.letters.asking import nothing
from penstock.cli.letters.held import Letter, count_of, holders, letters
from penstock.cli.letters.wanted import add_filters, wanted
from penstock.cli.outfile import add_outfile, outfile, written
from penstock.cli.output import as_json
from penstock.runtime.avrofile import write_container
from penstock.runtime.deadletter import original_headers

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

_PLACE: Final = [
    {"name": "topic", "type": "string"},
    {"name": "partition", "type": "int"},
    {"name": "offset", "type": "long"},
]
_TIME: Final = {"type": "long", "logicalType": "timestamp-millis"}
SCHEMA: Final[dict[str, Any]] = {
    "type": "record",
    "name": "ExportedDeadLetter",
    "namespace": "penstock",
    "fields": [
        {"name": "time", "type": _TIME, "doc": "when it was set aside"},
        {"name": "letter", "type": {"type": "record", "name": "Place", "fields": _PLACE}},
        {"name": "origin", "type": "Place", "doc": "where the record came from"},
        {"name": "written", "type": _TIME, "doc": "the record's own timestamp"},
        {"name": "state", "type": "string", "doc": "open, retried or dropped"},
        {"name": "retries", "type": "int", "doc": "how often it had been retried before"},
        {"name": "service", "type": "string"},
        {"name": "stage", "type": "string"},
        {"name": "reason", "type": "string"},
        {"name": "field", "type": ["null", "string"]},
        {"name": "message", "type": "string"},
        {"name": "carried", "type": "boolean", "doc": "whether the letter holds its record"},
        {"name": "key", "type": ["null", "bytes"]},
        {"name": "value", "type": ["null", "bytes"]},
        {
            "name": "headers",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Header",
                    "fields": [{"name": "name", "type": "string"}, {"name": "value", "type": "bytes"}],
                },
            },
        },
    ],
}
_LINES: Final = (".jsonl", ".ndjson", ".json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_filters(parser, verb="export")
    add_outfile(parser, what="the file to write, .avro or .jsonl")
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    path = outfile(args)
    if path is not None and path.suffix not in {".avro", *_LINES}:
        raise Failure(f"{path}: cannot write '{path.suffix}', expected .avro or .jsonl", Exit.USAGE)
    settings = settings_of(args)
    asked = wanted(args, time.time_ns() // 1_000_000)
    with connected(settings) as broker:
        there = letters(broker, holders(args.of, settings.prefix, broker.topics()), settings.prefix)
    found = [letter for letter in there if asked.takes(letter)]
    if not found:
        print(nothing(there, asked), file=sys.stderr)
    write(found, path)
    if path is not None:
        print(f"{count_of(found)} written to {path}", file=sys.stderr)
    return Exit.OK


def write(found: Sequence[Letter], path: Path | None) -> None:
    """Write letters to a file, by its ending, or to stdout."""
    with nullcontext(sys.stdout.buffer) if path is None else written(path) as file:
        if path is not None and path.suffix == ".avro":
            write_container(file, SCHEMA, (exported(letter) for letter in found))
        else:
            _lines(file, found)


def exported(letter: Letter) -> dict[str, Any]:
    """A letter as the schema above has it."""
    record, why = letter.record, letter.why
    return {
        "time": record.timestamp,
        "letter": {"topic": record.topic, "partition": record.partition, "offset": record.offset},
        "origin": {
            "topic": why.source.topic,
            "partition": why.source.partition,
            "offset": why.source.offset,
        },
        "written": why.timestamp,
        "state": letter.state,
        "retries": why.attempts,
        "service": why.service,
        "stage": why.stage,
        "reason": why.reason,
        "field": why.field or None,
        "message": why.message,
        "carried": letter.carried,
        "key": record.key,
        "value": record.value,
        "headers": [{"name": name, "value": value} for name, value in original_headers(record)],
    }


def _lines(file: BinaryIO, found: Sequence[Letter]) -> None:
    file.writelines(as_json(_based(exported(letter))).encode() + b"\n" for letter in found)
    file.flush()


def _based(value: Any) -> Any:
    """Bytes as base64, wherever they stand."""
    match value:
        case bytes():
            return b64encode(value).decode()
        case dict():
            return {name: _based(each) for name, each in value.items()}
        case list():
            return [_based(each) for each in value]
        case _:
            return value
