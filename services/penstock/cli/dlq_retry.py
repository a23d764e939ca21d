"""Send a dead letter's record once more, byte for byte, to the topic and partition it came from.

    penstock dlq retry churn.dead-letters.ingest --origin crm.events/1/17

To do once the cause is mended. The letter stays where it is; a retry that is refused again is a letter of
its own. An id that was answered meanwhile is counted as a repeat, so a retry may be repeated.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from penstock.cli.address import add_broker
from penstock.cli.cluster import connected, settings_of
from penstock.cli.dlq import Letter, add_letter, find, origin
from penstock.cli.exits import Exit, Failure
from penstock.cli.output import as_json
from penstock.cli.produce import send
from penstock.runtime.broker import Message
from penstock.runtime.deadletter import original_headers

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_letter(parser)
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    where = origin(args.origin)
    settings = settings_of(args)
    with connected(settings) as broker:
        message = again(find(broker, args.topic, where, settings.prefix))
        partitions = broker.topics().get(where.topic, 0)
        if where.partition >= partitions:
            raise Failure(f"nowhere to retry: there is no {where.topic}/{where.partition}", Exit.NOT_FOUND)
        producer = broker.producer()
        try:
            send(producer, iter([message]))
        finally:
            producer.close()
    size = len(message.value or b"")
    if args.output == "json":
        print(as_json({"topic": where.topic, "partition": where.partition, "bytes": size}))
    else:
        print(f"{size:,} bytes sent to {where.topic}, partition {where.partition}", file=sys.stderr)
    return Exit.OK


def again(letter: Letter) -> Message:
    """The record as its producer sent it.

    To its own partition rather than to its key's: the two differ where a topic's writer chooses by hand.

    Raises:
        Failure: with exit code 4 for a letter that does not hold its record.
    """
    if not letter.why.retry:
        raise Failure(f"nothing to retry: {letter.why.message}", Exit.NOT_FOUND)
    record, source = letter.record, letter.why.source
    return Message(source.topic, record.value, record.key, original_headers(record), source.partition)
