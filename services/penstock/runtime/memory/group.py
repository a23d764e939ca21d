"""A consumer group: who is in it, and which partitions each member has; Kafka's eager protocol in small.

Whoever comes, or wants other topics, begins a rebalance: every member gives up what it has with its next
poll, and only when the last one has done so does any of them get something. A member is known by its slot. A
newer process in a slot takes over what the older one had, without a rebalance. One that is gone keeps its
partitions until its session has run out (`MemoryBroker.lapse`), or until a rebalance finds it closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from penstock.runtime.broker import TopicPartition

if TYPE_CHECKING:
    from penstock.runtime.memory.clients import MemoryConsumer

Wanted = tuple[tuple[str, int], ...]
"""Topics with their partition counts."""


class Share(NamedTuple):
    """What a member has since a rebalance."""

    generation: int
    partitions: frozenset[TopicPartition]


@dataclass(slots=True)
class _Member:
    consumer: MemoryConsumer
    wanted: Wanted | None = None
    """None before its first poll: it takes no part yet."""
    joined: bool = False
    """Whether it has given up what it had, in the rebalance under way."""
    partitions: frozenset[TopicPartition] = frozenset()


@dataclass(slots=True)
class Group:
    generation: int = 0
    """How many rebalances there were."""
    _members: dict[str, _Member] = field(default_factory=dict)
    _balanced: bool = True

    def enter(self, consumer: MemoryConsumer) -> None:
        """A process in a slot; an older one in it is fenced."""
        member = self._members.get(consumer.slot)
        if member is None:
            self._members[consumer.slot] = _Member(consumer)
        else:
            member.consumer.fenced = True
            member.consumer = consumer
            member.joined = False

    def look(self, consumer: MemoryConsumer, wanted: Wanted) -> Share | None:
        """What a member has, as it polls; None while it has to wait for others, and then has nothing."""
        member = self._members.setdefault(consumer.slot, _Member(consumer))
        if member.wanted != wanted:
            member.wanted = wanted
            self._begin()
        if not self._balanced:
            member.joined = True
            self._finish()
        return Share(self.generation, member.partitions) if self._balanced else None

    def awaits(self, consumer: MemoryConsumer) -> bool:
        """Whether a poll would bring the member a change, or others nearer to one."""
        member = self._members.get(consumer.slot)
        if member is None or self._balanced:
            return consumer.generation != self.generation
        return not member.joined

    def has(self, consumer: MemoryConsumer) -> bool:
        """Whether this process may commit: it is in the group, and not behind a rebalance."""
        member = self._members.get(consumer.slot)
        return member is not None and member.consumer is consumer and consumer.generation == self.generation

    def lapse(self, slot: str) -> None:
        """Nothing was heard of a member for too long."""
        if self._members.pop(slot, None) is not None:
            self._begin()

    def _begin(self) -> None:
        self._balanced = False
        # A closed one says nothing any more: the others would wait for it until its session has run out.
        self._members = {slot: each for slot, each in self._members.items() if not each.consumer.closed}
        for member in self._members.values():
            member.joined = False

    def _finish(self) -> None:
        active = {slot: each for slot, each in self._members.items() if each.wanted is not None}
        if not all(member.joined for member in active.values()):
            return
        shares = spread({slot: each.wanted or () for slot, each in active.items()})
        for slot, member in active.items():
            member.partitions = shares[slot]
        self.generation += 1
        self._balanced = True


def spread(wanted: Mapping[str, Wanted]) -> dict[str, frozenset[TopicPartition]]:
    """Each member's partitions by Kafka's `range`: topics with equal counts stay together.

    >>> shares = spread({"0": (("left", 3), ("right", 3)), "1": (("left", 3), ("right", 3))})
    >>> sorted(shares["1"])
    [TopicPartition(topic='left', partition=2), TopicPartition(topic='right', partition=2)]
    """
    topics = {topic: count for each in wanted.values() for topic, count in each}
    shares: dict[str, set[TopicPartition]] = {slot: set() for slot in wanted}
    for topic, count in topics.items():
        takers = sorted(slot for slot, each in wanted.items() if any(topic == name for name, _ in each))
        for slot, numbers in zip(takers, _ranges(count, len(takers)), strict=True):
            shares[slot].update(TopicPartition(topic, number) for number in numbers)
    return {slot: frozenset(share) for slot, share in shares.items()}


def _ranges(count: int, takers: int) -> Iterable[Sequence[int]]:
    """So many numbers in so many runs of equal length, the first ones longer by one where it does not fit."""
    length, longer = divmod(count, takers)
    start = 0
    for number in range(takers):
        end = start + length + (number < longer)
        yield range(start, end)
        start = end
