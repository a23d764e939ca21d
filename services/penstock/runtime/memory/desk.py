"""The broker in memory as one worker sees it, so that whoever steps many need not step the idle ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from penstock.runtime.broker import Topic, TopicPartition
from penstock.runtime.memory.clients import (
    MemoryConsumer,
    MemoryProducer,
    MemoryReader,
    MemoryTransactional,
)
from penstock.runtime.memory.cluster import MemoryBroker

Client = TypeVar("Client", MemoryConsumer, MemoryReader)


class Desk:
    """Hands out the cluster's clients and remembers those that read.

    >>> from penstock.runtime.broker import Message
    >>> cluster = MemoryBroker(now=lambda: 0)
    >>> _ = cluster.create([Topic(name="t", partitions=1)])
    >>> desk = Desk(cluster)
    >>> reader = desk.reader({TopicPartition("t", 0): 0})
    >>> desk.news
    False
    >>> cluster.append(Message("t", b"hello"))
    >>> desk.news, len(reader.poll(10, 0).records), desk.news
    (True, 1, False)
    """

    def __init__(self, cluster: MemoryBroker) -> None:
        self._cluster = cluster
        self._clients: list[MemoryConsumer | MemoryReader] = []

    @property
    def news(self) -> bool:
        """Whether any of its clients has something to poll."""
        return any(client.behind for client in self._clients)

    def consumer(self, *, group: str, slot: str) -> MemoryConsumer:
        return self._remember(self._cluster.consumer(group=group, slot=slot))

    def reader(self, offsets: Mapping[TopicPartition, int]) -> MemoryReader:
        return self._remember(self._cluster.reader(offsets))

    def transactional(self, transactional_id: str) -> MemoryTransactional:
        return self._cluster.transactional(transactional_id)

    def producer(self) -> MemoryProducer:
        return self._cluster.producer()

    def create(self, topics: Sequence[Topic]) -> list[str]:
        return self._cluster.create(topics)

    def topics(self) -> dict[str, int]:
        return self._cluster.topics()

    def config(self, topic: str) -> dict[str, str]:
        return self._cluster.config(topic)

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        return self._cluster.ends(partitions)

    def unsettled(self, partitions: Iterable[TopicPartition]) -> frozenset[TopicPartition]:
        return self._cluster.unsettled(partitions)

    def cluster_id(self) -> str:
        return self._cluster.cluster_id()

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        return self._cluster.topic_ids(topics)

    def close(self) -> None:
        """The cluster stays."""

    def _remember(self, client: Client) -> Client:
        self._clients = [each for each in self._clients if not each.closed]
        self._clients.append(client)
        return client
