"""List the dead letters of a pipeline or a topic, or the newest of all, oldest first.

    penstock dlq list churn --reason wrong_type --since 2h
    penstock dlq list churn --origin crm.events --count       how many of each reason
    penstock dlq list churn --state all                       also those that were retried or dropped
    penstock dlq list churn -o json                           with the command that retries each

`penstock dlq show` takes the topic and the origin of a line. What these arguments choose is what they choose
for retry, drop and export.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from penstock.cli.address import add_broker
from penstock.cli.cluster import connected, settings_of
from penstock.cli.exits import Exit
from penstock.cli.letters.asking import nothing
from penstock.cli.letters.held import Letter, by_state, count_of, holders, letters
from penstock.cli.letters.wanted import add_filters, wanted
from penstock.cli.numbers import count_or_none
from penstock.cli.output import emit
from penstock.cli.times import iso

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from penstock.cli.letters.wanted import Wanted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_filters(parser, verb="list")
    parser.add_argument("-n", type=count_or_none, default=20, metavar="COUNT", help="how many (%(default)s)")
    parser.add_argument("--count", action="store_true", help="how many of each reason, instead of each")
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    asked = wanted(args, time.time_ns() // 1_000_000)
    with connected(settings) as broker:
        topics = holders(args.of, settings.prefix, broker.topics())
        there = letters(broker, topics, settings.prefix)
    found = [letter for letter in there if asked.takes(letter)]
    if args.count:
        emit(counts(found), args.output, empty=nothing(there, asked))
        return Exit.OK
    shown = found[max(len(found) - args.n, 0) :]
    if args.output == "json":
        emit([told(letter) for letter in shown], args.output)
        return Exit.OK
    emit(rows(shown, settings.prefix), args.output, empty="" if found else nothing(there, asked))
    _tell_the_rest(there, found, shown, asked)
    return Exit.OK


def told(letter: Letter) -> dict[str, object]:
    """For programs."""
    why, mark = letter.why, letter.mark
    return {
        "time": iso(letter.record.timestamp),
        "topic": letter.record.topic,
        "origin": letter.origin,
        "service": why.service,
        "stage": why.stage,
        "reason": why.reason,
        "field": why.field or None,
        "message": why.message,
        "retries": why.attempts,
        "state": letter.state,
        "by": mark.event.by if mark else None,
        "because": (mark.event.reason or None) if mark else None,
        "carried": letter.carried,
        "retry": letter.command,
    }


def rows(found: Sequence[Letter], prefix: str) -> list[dict[str, object]]:
    """For people: what is the same for all, because nothing was done yet, is left out."""
    states = {letter.state for letter in found} - {"open"}
    retried = any(letter.why.attempts for letter in found)
    return [
        {
            "time": iso(letter.record.timestamp),
            "topic": letter.record.topic.removeprefix(prefix),
            "origin": letter.origin,
            **({"state": letter.state} if states else {}),
            **({"retries": letter.why.attempts} if retried else {}),
            "reason": letter.why.reason,
            "message": letter.why.message,
        }
        for letter in found
    ]


def counts(found: Iterable[Letter]) -> list[dict[str, object]]:
    """How many of each reason and field, from where, most first."""
    groups: defaultdict[tuple[str, str, str, str], list[Letter]] = defaultdict(list)
    for letter in found:
        why = letter.why
        groups[why.source.topic, why.service, why.reason, why.field].append(letter)
    return [
        {
            "from": source,
            "service": service,
            "reason": reason,
            "field": field or None,
            "letters": len(group),
            "first": iso(min(letter.record.timestamp for letter in group)),
            "last": iso(max(letter.record.timestamp for letter in group)),
        }
        for (source, service, reason, field), group in sorted(
            groups.items(), key=lambda each: (-len(each[1]), each[0])
        )
    ]


def _tell_the_rest(
    there: Sequence[Letter], found: Sequence[Letter], shown: Sequence[Letter], asked: Wanted
) -> None:
    """What a table does not show, on stderr."""
    if len(shown) < len(found):
        what = f"the newest {len(shown):,} of {count_of(found)}"
        print(f"{what}; -n shows more, --count how many of each reason", file=sys.stderr)
    others = [each for each in there if asked.takes_but_for_state(each) and not asked.takes(each)]
    if found and others:
        print(f"not shown: {by_state(others)} (--state all)", file=sys.stderr)
