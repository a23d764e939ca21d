"""Dead letters: what could not be processed, as it came, with why and whence; and the fuse.

Key, value and headers stay the record's own, so that a retry sends what the producer sent. Beside them stand
Kafka Connect's header names, which its tools read, and `penstock.dead_letter`: our reason as an Avro record.
A record so large that its letter would not fit a topic is not carried: the letter says where it stands, and a
retry reads it there. A record that was retried says how often, and so does its letter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from penstock.contracts.records import DeadLetter, Source
from penstock.kernel.errors import Invalid
from penstock.runtime.broker import Gap, Message, Record
from penstock.runtime.codec import Codec

HEADER: Final = "penstock.dead_letter"
RETRIES: Final = "penstock.retries"
"""The header of a record that was sent back: how often it was, in digits."""
_CONNECT: Final = "__connect.errors."
GAP: Final = "gap"
"""The reason of a letter about records that nobody has read."""
CARRIED: Final = 900_000
"""Bytes of key, value and headers that a letter has room for: a topic takes a million, ours included."""
_DIGITS: Final = 9
"""A count of more is somebody else's header."""


class Refused(NamedTuple):
    """A record that can never be processed, why, and in which stage that was seen.

    One with personal data is withheld: its letter says where it stands, and carries nothing of it.
    """

    record: Record
    why: Invalid
    stage: str = "decode"
    withheld: bool = False


class FuseBlown(Exception):  # noqa: N818 - says what happened
    """Nearly everything is invalid: going on would turn the stream into dead letters."""


def letter(refused: Refused, *, service: str, topic: str, codec: Codec) -> Message:
    """The dead letter of a record, for the dead-letter topic `topic`."""
    record, why = refused.record, refused.why
    origin = f"{record.topic}/{record.partition}/{record.offset}"
    carried = why.reason != GAP and not refused.withheld and size(record) <= CARRIED
    reason = DeadLetter(
        service=service,
        stage=refused.stage,
        reason=why.reason,
        message=str(why),
        field=why.field,
        source=Source(topic=record.topic, partition=record.partition, offset=record.offset),
        timestamp=record.timestamp,
        retry=f"penstock dlq retry {topic} --origin {origin}" if carried else "",
        attempts=retries_of(record),
    )
    connect = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "exception.class.name": type(why).__name__,
        "exception.message": str(why),
        "stage": refused.stage,
    }
    if not carried:
        record = record._replace(key=None, value=None, headers=())
    own = tuple((name, value) for name, value in record.headers if not _ours(name))
    headers = (
        *own,
        (HEADER, codec.encode(reason)),
        *((_CONNECT + name, value.encode()) for name, value in connect.items()),
    )
    return Message(topic, record.value, record.key, headers)


def retries_of(record: Record) -> int:
    """How often a record was sent back; 0 where it does not say so in a number that makes sense.

    >>> retries_of(Record("crm", 0, 0, 0, None, b"", ((RETRIES, b"2"),)))
    2
    """
    said = next((value for name, value in reversed(record.headers) if name == RETRIES), b"")
    return int(said) if said.isdigit() and len(said) < _DIGITS else 0


def size(record: Record) -> int:
    """Bytes of key, value and headers."""
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def gap_letter(gap: Gap, *, service: str, topic: str, codec: Codec) -> Message:
    """A hole in the input, recorded where refused records are: retention was faster than this service."""
    where = gap.partition
    lost = Record(where.topic, where.partition, gap.start, 0, None, None)
    why = Invalid(f"records {gap.start} to {gap.end - 1} are gone: retention removed them unread", reason=GAP)
    return letter(Refused(lost, why, "consume"), service=service, topic=topic, codec=codec)


def original_headers(record: Record) -> tuple[tuple[str, bytes], ...]:
    """The headers a dead letter's record had before it became one."""
    return tuple((name, value) for name, value in record.headers if not _ours(name))


def _ours(name: str) -> bool:
    return name == HEADER or name.startswith(_CONNECT)


@dataclass(slots=True)
class Fuse:
    """Blows when of a source's last `window` records nearly all were refused.

    >>> fuse = Fuse(window=100, share=0.95)
    >>> fuse.burn("crm.events", seen=60, refused=50)
    >>> fuse.burn("crm.events", seen=60, refused=60)
    >>> fuse.burn("crm.events", seen=100, refused=99)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    penstock.runtime.deadletter.FuseBlown: 99 of the last 100 records of crm.events are invalid: mend ...
    """

    window: int = 1000
    share: float = 0.95
    _counts: dict[str, tuple[int, int]] = field(default_factory=dict)

    def burn(self, source: str, *, seen: int, refused: int) -> None:
        """Count a batch.

        Raises:
            FuseBlown: the window is full and at least `share` of it was refused.
        """
        before = self._counts.get(source, (0, 0))
        seen, refused = before[0] + seen, before[1] + refused
        full = seen >= self.window
        self._counts[source] = (0, 0) if full else (seen, refused)
        if full and refused >= self.share * seen:
            what = f"{refused} of the last {seen} records of {source} are invalid"
            way_out = "mend them or the pipeline file, or let them become dead letters with PENSTOCK_FUSE=off"
            raise FuseBlown(f"{what}: {way_out}")
