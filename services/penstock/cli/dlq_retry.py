"""Send the records of dead letters once more, byte for byte, to the topic and partition they came from.

    penstock dlq retry churn --origin crm.events/1/17           one
    penstock dlq retry churn --reason unknown_schema --dry-run  what it would send
    penstock dlq retry churn --reason unknown_schema --yes      all of them, without being asked

To do once the cause is mended. A letter stays where it is and is marked, so that the same words do not take
it again; --state retried does. What is refused again is a letter of its own, which knows how often its record
was retried: beyond --limit it is left, unless --force says otherwise. An id that was answered meanwhile is
counted as a repeat.

A letter that does not hold its record (too large, or of a pipeline with personal data) is retried from where
it came from, as long as it is kept there.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from penstock.cli.address import add_broker
from penstock.cli.cluster import connected, settings_of
from penstock.cli.exits import Exit, Failure
from penstock.cli.letters.again import MOST, Left, Plan, Resend, needed, plan
from penstock.cli.letters.asking import add_asking, agreed, choose, nothing
from penstock.cli.letters.held import by_reason, holders, letters
from penstock.cli.letters.marks import marking
from penstock.cli.letters.origins import read_places
from penstock.cli.letters.wanted import add_filters, wanted
from penstock.cli.numbers import count_or_none
from penstock.cli.output import as_json, counted, emit
from penstock.cli.who import add_operator, operator
from penstock.contracts.records import LetterAction

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Container, Sequence

    from penstock.cli.letters.wanted import Wanted
    from penstock.contracts.records import Source
    from penstock.runtime.broker import Broker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_filters(parser, verb="retry")
    add_asking(parser, verb="send")
    parser.add_argument(
        "--limit",
        type=count_or_none,
        default=MOST,
        metavar="N",
        help="leave what was retried so often already (%(default)s)",
    )
    parser.add_argument("--force", action="store_true", help="however often it was")
    parser.add_argument("--because", default="", metavar="TEXT", help="why; it stands in the mark")
    add_operator(parser)
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    asked = wanted(args, time.time_ns() // 1_000_000)
    with connected(settings) as broker:
        topics = holders(args.of, settings.prefix, broker.topics())
        planned = _planned(args, broker, topics, settings.prefix, asked)
        if not planned.sends and not planned.left:
            print(nothing(letters(broker, topics, settings.prefix), asked), file=sys.stderr)
        if args.dry_run:
            emit([row(each) for each in planned.sends], args.output, empty="nothing would be sent")
            _tell_left(planned.left)
            return Exit.OK
        sent: Sequence[Resend] = ()
        if planned.sends:
            agreed(args, _question(planned), len(planned.sends))
            there = {letter.place for each in planned.sends for letter in each.letters}
            again = partial(_planned, args, broker, topics, settings.prefix, asked, there)
            sent = _send(args, broker, settings.prefix, again)
    _tell(args, sent, planned.left)
    return _verdict(sent, planned.left)


def row(resend: Resend) -> dict[str, object]:
    """What is sent, in a line."""
    letter, message = resend.letter, resend.message
    return {
        "origin": letter.origin,
        "reason": letter.why.reason,
        "retries": resend.retries,
        "bytes": len(message.value or b""),
        "from": "its letter" if letter.carried else "its origin",
    }


def _planned(  # noqa: PLR0917 - what a plan is made of
    args: argparse.Namespace,
    broker: Broker,
    topics: Sequence[str],
    prefix: str,
    asked: Wanted,
    among: Container[Source] | None = None,
) -> Plan:
    """What is sent and what is left, of the letters that are meant; only of those `among`, where given."""
    found = [
        letter for letter in choose(broker, topics, prefix, asked) if among is None or letter.place in among
    ]
    return plan(
        found,
        origins=read_places(broker, needed(found)),
        partitions=broker.topics(),
        most=None if args.force else args.limit,
    )


def _send(
    args: argparse.Namespace, broker: Broker, prefix: str, planned: Callable[[], Plan]
) -> Sequence[Resend]:
    """Send and mark what there still is to once nobody else can: it is planned anew then."""
    by, now = operator(args.operator), time.time_ns() // 1_000_000
    with marking(broker, prefix) as marker:
        sends = planned().sends
        done = 0
        for count in marker.mark(
            ((each.message, [letter.place for letter in each.letters]) for each in sends),
            action=LetterAction.RETRIED,
            by=by,
            at=now,
            because=args.because,
        ):
            done += count
            if done < len(sends):
                print(f"{done:,} of {len(sends):,} sent", file=sys.stderr)
    return sends


def _question(planned: Plan) -> str:
    sends = planned.sends
    what = "send back 1 record" if len(sends) == 1 else f"send back {len(sends):,} records"
    sizes = sum(size_of(each) for each in sends)
    return f"{what} ({by_reason(each.letter for each in sends)}; {sizes:,} bytes)"


def size_of(resend: Resend) -> int:
    """Bytes of the value that is sent."""
    return len(resend.message.value or b"")


def _tell(args: argparse.Namespace, sent: Sequence[Resend], left: Sequence[Left]) -> None:
    if args.output == "json":
        told_left = [{"origin": each.letter.origin, "why": each.why} for each in left]
        told_sent = [
            {
                "topic": each.message.topic,
                "partition": each.message.partition,
                "origin": each.letter.origin,
                "reason": each.letter.why.reason,
                "bytes": size_of(each),
                "retries": each.retries,
            }
            for each in sent
        ]
        print(as_json({"sent": told_sent, "left": told_left}))
        return
    if len(sent) == 1:
        [only] = sent
        where = f"{only.message.topic}, partition {only.message.partition}"
        print(f"{size_of(only):,} bytes sent to {where}", file=sys.stderr)
    elif sent:
        sizes = sum(size_of(each) for each in sent)
        where = ", ".join(sorted({each.message.topic for each in sent}))
        print(f"{counted(len(sent), 'record')} sent to {where} ({sizes:,} bytes)", file=sys.stderr)
    if sent:
        _tell_left(left)


def _tell_left(left: Sequence[Left], most: int = 10) -> None:
    for each in left[:most]:
        print(f"left: {each.letter.origin}: {each.why}", file=sys.stderr)
    if len(left) > most:
        print(f"left: {len(left) - most:,} more", file=sys.stderr)


def _verdict(sent: Sequence[Resend], left: Sequence[Left]) -> int:
    """0 where something was sent or nothing was there to be; else what stood in the way.

    Raises:
        Failure: nothing could be sent: refused for the limit (8), or its record is nowhere (4).
    """
    if sent or not left:
        return Exit.OK
    limited = [each for each in left if each.limit]
    lines = [f"nothing to retry: {each.letter.origin}: {each.why}" for each in left[:10]]
    if len(left) > len(lines):
        lines.append(f"and {len(left) - len(lines):,} more")
    if limited:
        lines[-1] += " (--force sends it once more)"
    raise Failure("\n".join(lines), Exit.REFUSED if limited else Exit.NOT_FOUND)
