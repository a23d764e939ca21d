"""What retry and drop have in common: several letters are only touched once somebody has said yes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from penstock.cli.exits import Exit, Failure
from penstock.cli.letters.held import Letter, by_reason, by_state, letters, place_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from penstock.cli.letters.wanted import Wanted
    from penstock.runtime.broker import Broker


def add_asking(parser: argparse.ArgumentParser, *, verb: str) -> None:
    """The arguments that answer the question beforehand."""
    parser.add_argument("--dry-run", action="store_true", help=f"only show what it would {verb}")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def choose(broker: Broker, topics: Sequence[str], prefix: str, asked: Wanted) -> list[Letter]:
    """The letters that are meant, oldest first.

    Raises:
        Failure: one letter was named, and there is none (4), or something was done about it already (5).
    """
    there = [each for each in letters(broker, topics, prefix) if asked.takes_but_for_state(each)]
    found = [each for each in there if asked.takes(each)]
    place = asked.origin.place if asked.origin else None
    if place is None:
        return found
    if not there:
        raise Failure(f"no dead letter of {place_text(place)} on {' or '.join(topics)}", Exit.NOT_FOUND)
    # Should the topic have been made anew, the newest is meant.
    newest = there[-1].why.timestamp
    if one := [each for each in found if each.why.timestamp == newest]:
        return one
    mark = there[-1].mark
    if mark is None:
        raise Failure(f"the dead letter of {place_text(place)} is open", Exit.CONFLICT)
    done = f"{there[-1].state} by {mark.event.by}"
    raise Failure(f"{place_text(place)} was {done}: --state {there[-1].state} takes it again", Exit.CONFLICT)


def nothing(found: Sequence[Letter], asked: Wanted) -> str:
    """What to say where no letter is meant: what there is instead.

    Args:
        found: those that would be meant, whatever had been done about them; or else all there are.
        asked: what was.
    """
    if others := [each for each in found if asked.takes_but_for_state(each)]:
        return f"no dead letters but {by_state(others)} (--state all)"
    if found:
        return f"no such dead letters{asked.hint(found)}; there are {by_reason(found)} (--state all)"
    return "no dead letters"


def agreed(args: argparse.Namespace, question: str, count: int) -> None:
    """Go on, or not.

    Raises:
        Failure: nobody can be asked (2), or the answer was no (1).
    """
    if args.yes or (count == 1 and args.origin is not None and args.origin.place is not None):
        return
    if not sys.stdin.isatty():
        raise Failure(f"{question}: --yes does it, --dry-run shows what it would be", Exit.USAGE)
    print(f"{question}? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise Failure("nothing was done", Exit.FAILED)
