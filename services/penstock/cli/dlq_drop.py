"""Give dead letters up: they stay where they are, marked, and are no longer open.

    penstock dlq drop churn --reason future_time --until 2026-03-02 --because "the clock of gate 7"
    penstock dlq drop churn --origin crm.events/1/17 --because "a test of ours"

Nothing is deleted: `--state dropped` lists them, and takes them back for a retry.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from penstock.cli.address import add_broker
from penstock.cli.cluster import connected, settings_of
from penstock.cli.dlq_list import rows
from penstock.cli.exits import Exit, Failure
from penstock.cli.letters.asking import add_asking, agreed, choose, nothing
from penstock.cli.letters.held import by_reason, count_of, holders, letters
from penstock.cli.letters.marks import marking
from penstock.cli.letters.wanted import add_filters, wanted
from penstock.cli.output import as_json, emit
from penstock.cli.who import add_operator, operator
from penstock.contracts.records import LetterAction

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_filters(parser, verb="drop")
    parser.add_argument("--because", required=True, metavar="TEXT", help="why; it stands in the mark")
    add_asking(parser, verb="drop")
    add_operator(parser)
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    if not args.because.strip():
        raise Failure("--because is empty: say why they are given up", Exit.USAGE)
    settings = settings_of(args)
    asked = wanted(args, time.time_ns() // 1_000_000)
    with connected(settings) as broker:
        topics = holders(args.of, settings.prefix, broker.topics())
        found = choose(broker, topics, settings.prefix, asked)
        if not found:
            print(nothing(letters(broker, topics, settings.prefix), asked), file=sys.stderr)
        elif args.dry_run:
            emit(rows(found, settings.prefix), args.output)
            return Exit.OK
        else:
            agreed(args, f"drop {count_of(found)} ({by_reason(found)})", len(found))
            with marking(broker, settings.prefix) as marker:
                there = {letter.place for letter in found}
                found = [
                    each for each in choose(broker, topics, settings.prefix, asked) if each.place in there
                ]
                marked = marker.mark(
                    ((None, [letter.place]) for letter in found),
                    action=LetterAction.DROPPED,
                    by=operator(args.operator),
                    at=time.time_ns() // 1_000_000,
                    because=args.because,
                )
                found = found[: sum(marked)]
    if args.output == "json":
        print(as_json({"dropped": [letter.origin for letter in found]}))
    elif found:
        print(f"{count_of(found)} dropped", file=sys.stderr)
    return Exit.OK
