"""Marks: what operators did with dead letters, which stay where they are.

A mark is a record of `dead-letter-marks`, keyed by where its letter stands, so that the topic keeps the last
thing that was done with each. Records are sent back and marked in one transaction, under one transactional
id: of two operators who retry at once, the later one takes over before it looks, and the earlier one's next
step fails. No letter is sent twice, whoever is killed in between.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from penstock.cli.exits import Exit, Failure
from penstock.contracts.records import DeadLetterMarked, LetterAction, Source
from penstock.kernel.errors import Invalid
from penstock.runtime.broker import Aborted, Message, TopicPartition
from penstock.runtime.catalog import Catalog, Names
from penstock.runtime.codec import UnknownSchema
from penstock.runtime.errors import Fenced
from penstock.runtime.topics import topics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from penstock.runtime.broker import Broker, Record
    from penstock.runtime.codec import Codec

MARKS: Final = "dead-letter-marks"
SECONDS: Final = 5.0
_RECORDS, _BYTES = 500, 8_000_000
"""What one transaction may hold: the coordinator ends one that takes longer than 15 seconds."""


class Mark(NamedTuple):
    """A mark, and when it was written by the broker's clock."""

    event: DeadLetterMarked
    stamp: int


def read_marks(records: Iterable[Record], codec: Codec) -> dict[Source, Mark]:
    """The last mark of each letter, by where that stands."""
    marks: dict[Source, Mark] = {}
    for record in records:
        if record.value is None:
            continue
        try:
            event = codec.decode(record.value).value
        except (Invalid, UnknownSchema):
            continue
        if isinstance(event, DeadLetterMarked):
            marks[event.letter] = Mark(event, record.timestamp)
    return marks


class Marker:
    """Sends records back and marks their letters, both or neither; made by `marking`."""

    def __init__(self, broker: Broker, names: Names, codec: Codec) -> None:
        self._producer = broker.transactional(names.of("dlq"))
        self._broker = broker
        self._topic = names.of(MARKS)
        self._codec = codec

    def close(self) -> None:
        self._producer.close()

    def settle(self) -> None:
        """Wait until everybody sees the marks: a commit is answered before its end is on every partition."""
        count = self._broker.topics()[self._topic]
        mine = [TopicPartition(self._topic, each) for each in range(count)]
        deadline = time.monotonic() + SECONDS
        while self._broker.unsettled(mine) and time.monotonic() < deadline:
            time.sleep(0.01)

    def mark(
        self,
        done: Iterable[tuple[Message | None, Sequence[Source]]],
        *,
        action: LetterAction,
        by: str,
        at: int,
        because: str,
    ) -> Iterator[int]:
        """Write all of it, in as many transactions as it takes; yields how much each one did.

        Args:
            done: a record to send, or None where there is nothing to, and the letters that this is about.
            action: what is done.
            by: who does it.
            at: now, by the clock of who does it.
            because: why; may be empty.

        Raises:
            Failure: somebody else took over (5), or the broker did not take it (6).
        """
        batch: list[Message] = []
        count = 0
        for message, places in done:
            if batch and (len(batch) >= _RECORDS or _size(batch) + _size([message]) > _BYTES):
                self._commit(batch)
                yield count
                batch, count = [], 0
            count += 1
            batch += [] if message is None else [message]
            for place in places:
                event = DeadLetterMarked(letter=place, action=action, by=by, at=at, reason=because)
                key = f"{place.topic}/{place.partition}/{place.offset}".encode()
                batch.append(Message(self._topic, self._codec.encode(event), key))
        if batch:
            self._commit(batch)
            yield count

    def _commit(self, batch: Sequence[Message]) -> None:
        try:
            self._producer.begin()
            self._producer.send(batch)
            self._producer.commit()
        except Aborted as why:
            self._producer.abort()
            raise Failure(f"nothing of this was written: {why}", Exit.UNREACHABLE) from why
        except Fenced as why:
            message = "another `penstock dlq` took over: what it has not done is still open; ask again"
            raise Failure(message, Exit.CONFLICT) from why


@contextmanager
def marking(broker: Broker, prefix: str) -> Iterator[Marker]:
    """A marker that is the only one; whoever had begun before writes no more."""
    names = Names(prefix)
    broker.create([each for each in topics(prefix) if each.name == names.of(MARKS)])
    catalog = Catalog(broker, names)  # writes this build's schemas, that of a mark among them
    catalog.close()
    marker = Marker(broker, names, catalog.codec)
    try:
        yield marker
        marker.settle()
    finally:
        marker.close()


def _size(messages: Iterable[Message | None]) -> int:
    return sum(len(each.value or b"") + len(each.key or b"") for each in messages if each is not None)
