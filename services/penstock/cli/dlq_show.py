"""Show one dead letter: why it was refused, what was done about it, and the record as it came.

penstock dlq show churn.dead-letters.ingest --origin crm.events/1/17
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.cli.address import add_broker
from penstock.cli.cluster import connected, settings_of
from penstock.cli.dlq_list import told
from penstock.cli.exits import Exit
from penstock.cli.letters.asking import choose
from penstock.cli.letters.held import Letter, holders
from penstock.cli.letters.wanted import Origin, Wanted, exact_origin
from penstock.cli.output import as_json, emit_object
from penstock.cli.tail import Decoder
from penstock.cli.times import iso
from penstock.runtime.deadletter import original_headers

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "topic",
        metavar="PIPELINE|TOPIC",
        help="a pipeline, or a dead-letter topic with or without the prefix",
    )
    parser.add_argument(
        "--origin",
        required=True,
        type=exact_origin,
        metavar="TOPIC/PARTITION/OFFSET",
        help="where the record came from",
    )
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    place = args.origin
    asked = Wanted(origin=Origin(place.topic, place.partition, place.offset))
    settings = settings_of(args)
    with connected(settings) as broker:
        topics = holders(args.topic, settings.prefix, broker.topics())
        letter = choose(broker, topics, settings.prefix, asked)[-1]
        decoder = Decoder(broker, settings.prefix)
        emit_object(described(letter, decoder), args.output)
    return Exit.OK


def described(letter: Letter, decoder: Decoder) -> dict[str, object]:
    """Everything there is to say."""
    record = letter.record
    return {
        **told(letter),
        "written": iso(letter.why.timestamp),
        "key": _text(record.key),
        "value": None if record.value is None else _value(record.value, decoder),
        "bytes": None if record.value is None else len(record.value),
        "headers": {name: _text(value) for name, value in original_headers(record)},
    }


def _value(value: bytes, decoder: Decoder) -> object:
    """Decoded where it can be, which is seldom why it is here; else as text, else as hexadecimal."""
    decoded = decoder.decode(value).value
    if not isinstance(decoded, bytes):
        return decoded
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value
    return text if text.isprintable() else as_json(text)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", errors="backslashreplace")
