"""Which dead letters are meant: by reason, origin, service, time and state, the same for every verb."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, NamedTuple, get_args

from penstock.cli.letters.held import Letter, State
from penstock.contracts.records import Source
from penstock.kernel.errors import Invalid
from penstock.kernel.mistakes import Wrong
from penstock.kernel.times import event_time_ms
from penstock.kernel.units import duration

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

_STATES: Final[tuple[State, ...]] = get_args(State)


class Origin(NamedTuple):
    """Where records came from: a topic, a partition of it, or one place."""

    topic: str
    partition: int | None = None
    offset: int | None = None

    @property
    def place(self) -> Source | None:
        """The one place that this is, where it is one."""
        if self.partition is None or self.offset is None:
            return None
        return Source(topic=self.topic, partition=self.partition, offset=self.offset)

    def holds(self, place: Source) -> bool:
        """Whether a place is within it."""
        return (
            self.topic == place.topic
            and self.partition in {None, place.partition}
            and self.offset in {None, place.offset}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a letter has to be.

    Args:
        reasons: one of these; any where empty.
        service: of this service.
        origin: from there.
        since: set aside then or later, milliseconds since 1970.
        until: set aside before.
        states: one of these; any where empty.
    """

    reasons: frozenset[str] = frozenset()
    service: str | None = None
    origin: Origin | None = None
    since: int | None = None
    until: int | None = None
    states: frozenset[State] = frozenset()

    def takes(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        return self.takes_but_for_state(letter) and (not self.states or letter.state in self.states)

    def takes_but_for_state(self, letter: Letter) -> bool:
        """Whether a letter would be meant, had something else been done about it."""
        why, stamp = letter.why, letter.record.timestamp
        return (
            (not self.reasons or why.reason in self.reasons)
            and self.service in {None, why.service}
            and (self.origin is None or self.origin.holds(why.source))
            and (self.since is None or stamp >= self.since)
            and (self.until is None or stamp < self.until)
        )

    def hint(self, found: Iterable[Letter]) -> str:
        """What was probably meant, where a word of it is the word of no letter; '' where none is."""
        found = list(found)
        words = [
            *((each, {letter.why.reason for letter in found}) for each in sorted(self.reasons)),
            *([(self.service, {letter.why.service for letter in found})] if self.service else []),
            *([(self.origin.topic, {letter.why.source.topic for letter in found})] if self.origin else []),
        ]
        for word, known in words:
            if word not in known and (close := get_close_matches(word, known, n=1)):
                return f" (did you mean '{close[0]}'?)"
        return ""


def add_filters(parser: argparse.ArgumentParser, *, verb: str) -> None:
    """The arguments that choose letters."""
    parser.add_argument(
        "of",
        nargs="?",
        metavar="PIPELINE|TOPIC",
        help="a pipeline or a dead-letter topic; all where left out",
    )
    chosen = parser.add_argument_group(f"which letters to {verb}")
    chosen.add_argument(
        "--reason", action="append", default=[], metavar="R", help="refused for this; several"
    )
    chosen.add_argument(
        "--origin", type=origin, metavar="TOPIC[/PARTITION[/OFFSET]]", help="where the record came from"
    )
    chosen.add_argument("--service", metavar="S", help="set aside by this service, such as ingest")
    chosen.add_argument(
        "--since", type=moment, metavar="T", help="set aside since 2026-03-02T09:00:00Z (UTC), or 2h ago"
    )
    chosen.add_argument("--until", type=moment, metavar="T", help="set aside before then")
    chosen.add_argument(
        "--state",
        choices=[*_STATES, "all"],
        default="open",
        help="what was done about it (%(default)s): a letter that was retried or dropped is no longer open",
    )


def wanted(args: argparse.Namespace, now: int) -> Wanted:
    """What these arguments ask for, at this time in milliseconds since 1970."""
    return Wanted(
        reasons=frozenset(args.reason),
        service=args.service,
        origin=args.origin,
        since=None if args.since is None else args.since(now),
        until=None if args.until is None else args.until(now),
        states=frozenset() if args.state == "all" else frozenset({args.state}),
    )


def origin(text: str) -> Origin:
    """A place, a partition or a topic from the command line.

    >>> origin("crm.events/2/17").place, origin("crm.events").place
    (Source(topic='crm.events', partition=2, offset=17), None)
    """
    topic, *numbers = text.split("/")
    if topic and len(numbers) <= 2 and all(each.isascii() and each.isdigit() for each in numbers):  # noqa: PLR2004 - partition and offset
        return Origin(topic, *map(int, numbers))
    raise ArgumentTypeError(f"{text!r} is no origin, expected TOPIC[/PARTITION[/OFFSET]]")


def exact_origin(text: str) -> Source:
    """One place from the command line."""
    place = origin(text).place
    if place is None:
        raise ArgumentTypeError(f"{text!r} is no place, expected TOPIC/PARTITION/OFFSET")
    return place


def moment(text: str) -> Callable[[int], int]:
    """A time as ISO-8601, UTC where it names no zone, or how long ago; given now, milliseconds since 1970.

    >>> moment("2h")(7_200_000), moment("2013-01-01T05:00:00Z")(0), moment("2013-01-01")(0)
    (0, 1357016400000, 1356998400000)
    """
    try:
        ago = duration(text)
    except Wrong:
        pass
    else:
        return lambda now: now - ago
    try:
        at = event_time_ms(text)
    except Invalid:
        message = f"{text!r} is no time, expected one such as 2026-03-02T09:00:00Z, or 2h for two hours ago"
        raise ArgumentTypeError(message) from None
    return lambda _: at
