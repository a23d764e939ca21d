"""What both shells of the monitor share: the core they drive, and the ledger of what it remembers.

A pipeline's state is one record of the compacted topic `monitor-state`: a line with the offset of the next
summary to take, then what the core wrote. Because both are one record, a summary changes the state once: who
is handed it again, after a crash, sees that it was taken. Only this makes an at-least-once shell exact.

A state follows from the summaries before its position alone. So of two records of a key the one that is
further on is right, in whatever order they stand: a process that has lost its partitions unawares, because it
was stopped for a while, may write an old one after its successor's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from penstock.kernel.errors import Invalid
from penstock.kernel.hashing import partition_of
from penstock.runtime.broker import Broker, Message, Record
from penstock.runtime.catalog import Catalog

NAME: Final = "monitor"
"""Of the service, and with the prefix of its consumer group."""
SOURCE: Final = "summaries"
STATE: Final = "monitor-state"

State = TypeVar("State")


class Taken(NamedTuple, Generic[State]):
    """What a record becomes: the state after it, and what is to be written."""

    state: State
    outputs: Sequence[Message] = ()


class Core(Protocol[State]):
    """What the monitor makes of summaries, of one pipeline at a time; driven by a shell, in one thread."""

    def refresh(self) -> None:
        """Follow the folds; called before records are taken, so it has to be quick where nothing is new.

        Raises:
            Unavailable: no broker answers.
        """
        ...

    def take(self, state: State | None, record: Record) -> Taken[State]:
        """One record. The same state and record make the same outputs, ids included.

        The state may be changed in place, though not before an error is raised.

        Args:
            state: of the record's key; None before its first record.
            record: each is handed over once, in offset order, as far as the state can tell.

        Raises:
            Invalid: it can never be taken; it becomes a dead letter.
            NotYet: what it needs is still on its way; it is handed over again.
        """
        ...

    def dump(self, state: State) -> bytes: ...

    def load(self, payload: bytes) -> State:
        """What `dump` wrote, maybe by an older build."""
        ...

    def close(self) -> None:
        """Let go of clients of its own."""
        ...


MakeCore = Callable[[Catalog, Broker], Core[State]]


class Ledger(Generic[State]):
    """The states in hand, each with the offset of the next record it is to take.

    Args:
        core: whose states they are.
        partitions: of every control topic.
    """

    def __init__(self, core: Core[State], partitions: int) -> None:
        self._core = core
        self._partitions = partitions
        self._held: dict[bytes, tuple[int, State]] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._held

    def load(self, key: bytes, payload: bytes) -> None:
        """Take up what `dump` wrote for this key."""
        _, _, state = payload.partition(b"\n")
        self._held[key] = (position_of(payload), self._core.load(state))

    def dump(self, key: bytes) -> bytes:
        """The record that holds a key's state and position."""
        after, state = self._held[key]
        return b"%d\n%b" % (after, self._core.dump(state))

    def forget(self) -> None:
        """Drop everything: it is to be loaded anew."""
        self._held.clear()

    def take(self, record: Record) -> Sequence[Message] | None:
        """What a record leads to; None for one that was taken before.

        Raises:
            Invalid: it can never be taken, and nothing has changed.
            NotYet: not now, and nothing has changed.
        """
        key = key_of(record, self._partitions)
        after, state = self._held.get(key, (0, None))
        if record.offset < after:
            return None
        taken = self._core.take(state, record)
        self._held[key] = (record.offset + 1, taken.state)
        return taken.outputs


def position_of(payload: bytes | None) -> int:
    r"""How far a state record is: the offset of the next summary to take.

    >>> position_of(b"7\nwhat the core wrote"), position_of(None)
    (7, 0)
    """
    return 0 if payload is None else int(payload.partition(b"\n")[0])


def key_of(record: Record, partitions: int) -> bytes:
    """The key of a record that stands where its key belongs.

    Elsewhere it would begin a second state of the same pipeline, which a restart would mix up with the first.

    Raises:
        Invalid: it has no key, or stands on another partition.
    """
    if record.key is None:
        raise Invalid("it has no key, so it is of no pipeline", reason="no_key")
    if partition_of(record.key, partitions) != record.partition:
        raise Invalid(
            f"it stands on partition {record.partition}, not where its pipeline's are", reason="misplaced"
        )
    return record.key
