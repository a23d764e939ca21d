"""List the dead letters of a pipeline or a topic, or the newest of all, oldest first.

    penstock dlq list churn --reason wrong_type
    penstock dlq list churn -o json            with the command that retries each

`penstock dlq show` and `penstock dlq retry` take the topic and the origin of a line.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from penstock.cli.address import add_broker
from penstock.cli.cluster import connected, settings_of
from penstock.cli.dlq import Letter, holders, latest, letters
from penstock.cli.exits import Exit
from penstock.cli.numbers import count_or_none
from penstock.cli.output import emit

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "of", nargs="?", metavar="PIPELINE|TOPIC", help="a dead-letter topic; all where left out"
    )
    parser.add_argument("--reason", metavar="R", help="only those refused for this reason")
    parser.add_argument("-n", type=count_or_none, default=20, metavar="COUNT", help="how many (%(default)s)")
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    with connected(settings) as broker:
        topics = holders(args.of, settings.prefix, broker.topics())
        found = latest(
            letters(broker, topics, settings.prefix),
            args.n,
            lambda letter: args.reason in {None, letter.why.reason},
        )
    show = told if args.output == "json" else row
    emit([show(letter, settings.prefix) for letter in found], args.output, empty="no dead letters")
    return Exit.OK


def told(letter: Letter, prefix: str) -> dict[str, object]:  # noqa: ARG001 - programs get full names
    """For programs."""
    why = letter.why
    return {
        "time": _time(letter),
        "topic": letter.record.topic,
        "origin": letter.origin,
        "service": why.service,
        "stage": why.stage,
        "reason": why.reason,
        "field": why.field or None,
        "message": why.message,
        "retry": why.retry or None,
    }


def row(letter: Letter, prefix: str) -> dict[str, object]:
    """For people."""
    return {
        "time": _time(letter),
        "topic": letter.record.topic.removeprefix(prefix),
        "origin": letter.origin,
        "reason": letter.why.reason,
        "message": letter.why.message,
    }


def _time(letter: Letter) -> str:
    return datetime.fromtimestamp(letter.record.timestamp / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
