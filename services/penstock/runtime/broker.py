"""What a service needs of a broker, and nothing more: one protocol with two implementations.

`penstock.runtime.kafka` speaks to Apache Kafka, `penstock.runtime.memory` keeps the log in this process; one
contract suite holds both to the same behaviour. Rebalances are reported by `Consumer.poll`, never by a
callback, so they can only happen between two transactions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

Headers = tuple[tuple[str, bytes], ...]
HELD_SECONDS: Final = 60.0
"""How long a `Producer` tries to write a record that it has taken, before that counts as failed."""


class TopicPartition(NamedTuple):
    topic: str
    partition: int


class Record(NamedTuple):
    """A record that is in the log. `timestamp` is in milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Message(NamedTuple):
    """A record to be. Without `partition` the key decides by murmur2, without a key the client does."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    partition: int | None = None


class Position(NamedTuple):
    """The next offset to read, and what the group remembers beside it (at most 4 kB)."""

    offset: int
    metadata: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Records [start, end) are gone: retention removed them before this group had read them."""

    partition: TopicPartition
    start: int
    end: int


class Polled(NamedTuple):
    """What one poll brought.

    Args:
        records: in offset order within each partition.
        ended: assigned partitions whose position is the last stable offset now.
        assigned: partitions that came; they deliver nothing before `Consumer.start`.
        revoked: partitions that went; their state is to be dropped.
        gaps: what was lost to retention; the partition waits for a `Consumer.start`.
    """

    records: Sequence[Record] = ()
    ended: frozenset[TopicPartition] = frozenset()
    assigned: frozenset[TopicPartition] = frozenset()
    revoked: frozenset[TopicPartition] = frozenset()
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic as it is to be created: `config` holds Kafka's own topic settings."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


class Aborted(Exception):  # noqa: N818 - says what became of the transaction
    """The transaction left nothing: forget what was staged and begin again from the committed offsets."""


class Consumer(Protocol):
    """A member of a consumer group that reads committed records only. Not to be shared between threads."""

    def subscribe(self, topics: Sequence[str]) -> None:
        """Take part in these topics from now on; those with equal partition counts stay together."""
        ...

    def poll(self, limit: int, seconds: float, gather: float = 0.0) -> Polled:
        """At most `limit` records, waiting at most `seconds` for the first, and `gather` for more after it.

        Raises:
            Unavailable: the broker refuses this client for now.
            Fenced: another process took this slot of the group.
        """
        ...

    def assignment(self) -> frozenset[TopicPartition]: ...

    def committed(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Position | None]:
        """Stable committed positions (waits out open transactions); None where the group never committed."""
        ...

    def start(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Deliver these assigned partitions from these offsets on, whatever was delivered before."""
        ...

    def pause(self, partitions: Iterable[TopicPartition]) -> None: ...

    def resume(self, partitions: Iterable[TopicPartition]) -> None: ...

    def close(self) -> None:
        """Leave the group without committing."""
        ...


class Reader(Protocol):
    """Reads partitions from given offsets, committed records only, in no group."""

    @property
    def positions(self) -> Mapping[TopicPartition, int]:
        """The next offset of each partition; past markers as soon as its end was seen."""
        ...

    def poll(self, limit: int, seconds: float) -> Polled: ...

    def close(self) -> None: ...


class TransactionalProducer(Protocol):
    """Writes and commits offsets in one transaction. A newer one with the same id fences this one."""

    def begin(self) -> None: ...

    def send(self, messages: Iterable[Message]) -> None: ...

    def send_offsets(self, consumer: Consumer, offsets: Mapping[TopicPartition, Position]) -> None: ...

    def commit(self) -> None:
        """All of it happens, or `Aborted` and none of it did.

        Raises:
            Aborted: nothing was written; the producer may begin anew.
            Fenced: a newer process owns this id.
            Unavailable: the outcome is unknown; this producer must not be used again.
        """
        ...

    def abort(self) -> None: ...

    def close(self) -> None: ...


class Producer(Protocol):
    """An idempotent producer with a bounded buffer, for records outside transactions."""

    def send(self, message: Message) -> bool:
        """Hand over; False where the buffer is full (nothing was taken)."""
        ...

    def send_all(self, messages: Sequence[Message]) -> int:
        """Hand over one after the other until the buffer is full; how many were taken."""
        ...

    def failed(self) -> int:
        """How many records that were taken could not be written, ever so far."""
        ...

    def waiting(self) -> int:
        """How many records are taken and not yet written."""
        ...

    def flush(self, seconds: float) -> int:
        """Wait until all is written; how many still wait after `seconds`."""
        ...

    def close(self) -> None: ...


class Broker(Protocol):
    """A cluster. Names are full topic names, prefix included."""

    def consumer(self, *, group: str, slot: str) -> Consumer:
        """A member of `group`; `slot` is its stable name: restarted, it gets its partitions back."""
        ...

    def reader(self, offsets: Mapping[TopicPartition, int]) -> Reader: ...

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        """Ready for its first transaction; whatever an older one with this id left open is aborted."""
        ...

    def producer(self) -> Producer: ...

    def create(self, topics: Sequence[Topic]) -> list[str]:
        """Create what is missing; the names of those created. Existing topics stay as they are."""
        ...

    def topics(self) -> dict[str, int]:
        """Partition count by topic.

        Raises:
            Unavailable: no broker answers.
        """
        ...

    def config(self, topic: str) -> dict[str, str]: ...

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """First offset and last stable offset of each partition."""
        ...

    def unsettled(self, partitions: Iterable[TopicPartition]) -> frozenset[TopicPartition]:
        """Those on which a transaction is open, or its end is still on its way there."""
        ...

    def cluster_id(self) -> str: ...

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]: ...

    def close(self) -> None: ...
