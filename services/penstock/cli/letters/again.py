"""What a retry sends, and what it leaves: decided before anything is written."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from penstock.cli.letters.held import Letter
from penstock.runtime.broker import Message
from penstock.runtime.deadletter import RETRIES, original_headers, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from penstock.contracts.records import Source
    from penstock.runtime.broker import Record

MOST: Final = 3
"""Retries of one record before it takes --force: what was refused so often is not mended by asking again."""
LARGEST: Final = 1_040_000
"""Bytes of a record that can be sent: the most a topic takes by default, less what it takes to send it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """A record to send back, and the letters that go with it: two pipelines may have refused the same one."""

    letters: Sequence[Letter]
    message: Message
    retries: int

    @property
    def letter(self) -> Letter:
        return self.letters[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A letter that is not sent back, and why.

    Args:
        letter: the one.
        why: the reason, in a line.
        limit: it was retried too often, which --force overrules.
    """

    letter: Letter
    why: str
    limit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A retry before it is done."""

    sends: Sequence[Resend]
    left: Sequence[Left]


def needed(found: Iterable[Letter]) -> list[Source]:
    """The places whose records have to be read where they came from."""
    return [letter.why.source for letter in found if not letter.carried and not letter.lost]


def plan(
    found: Iterable[Letter],
    *,
    origins: Mapping[Source, Record],
    partitions: Mapping[str, int],
    most: int | None,
) -> Plan:
    """What is sent where.

    Args:
        found: the letters, oldest first.
        origins: records of letters that hold none, as they still stand where they came from.
        partitions: how many each topic has.
        most: retries after which a record is left; None for no end.
    """
    same: defaultdict[tuple[Source, int], list[Letter]] = defaultdict(list)
    for letter in found:
        # The record's own timestamp tells it from what stood there before its topic was made anew.
        same[letter.why.source, letter.why.timestamp].append(letter)
    sends: list[Resend] = []
    left: list[Left] = []
    for letters in same.values():
        letters.sort(key=lambda each: not each.carried)
        letter = letters[0]
        origin, attempts = letter.why.source, max(each.why.attempts for each in letters)
        record = letter.record if letter.carried else _own(letter, origins.get(origin))
        why = _hindrance(letter, record, partitions)
        if why is None and most is not None and attempts >= most:
            why = f"retried {attempts} times already, and refused each time"
            left += [Left(letter=each, why=why, limit=True) for each in letters]
        elif why is not None:
            left += [Left(letter=each, why=why) for each in letters]
        elif record is not None:
            message = again(record, origin, attempts + 1)
            sends.append(Resend(letters=letters, message=message, retries=attempts + 1))
    return Plan(sends=sends, left=left)


def again(record: Record, origin: Source, retries: int) -> Message:
    """The record as its producer sent it, and in a header how often it was retried.

    To its own partition rather than to its key's: the two differ where a topic's writer chooses by hand.
    """
    own = tuple((name, value) for name, value in original_headers(record) if name != RETRIES)
    headers = (*own, (RETRIES, str(retries).encode()))
    return Message(origin.topic, record.value, record.key, headers, origin.partition)


def _own(letter: Letter, record: Record | None) -> Record | None:
    """What stands at the origin, if it is still the record that was refused."""
    return record if record is not None and record.timestamp == letter.why.timestamp else None


def _hindrance(letter: Letter, record: Record | None, partitions: Mapping[str, int]) -> str | None:
    """Why a record cannot be sent, None where it can."""
    origin = letter.why.source
    if letter.lost:
        return letter.why.message
    if origin.partition >= partitions.get(origin.topic, 0):
        return f"there is no {origin.topic}/{origin.partition}"
    if record is None:
        return f"the letter does not hold its record, which is no longer kept at {letter.origin}"
    if size(record) > LARGEST:
        return f"{size(record):,} bytes are more than is sent: its producer has to send it again"
    return None
