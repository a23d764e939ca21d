"""A Kafka cluster: it makes the clients, and knows the topics."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined] # public, though not marked as exported
    AdminClient,
    ConfigResource,
    ConfigSource,
    OffsetSpec,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from penstock.kernel.errors import Invalid
from penstock.runtime.broker import TopicPartition
from penstock.runtime.errors import Unavailable
from penstock.runtime.kafka.clients import ANSWER_SECONDS, Contact, client_config, error_of, raise_verdict
from penstock.runtime.kafka.consumers import KafkaConsumer, KafkaReader
from penstock.runtime.kafka.producers import KafkaProducer, KafkaTransactionalProducer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from concurrent.futures import Future

    from penstock.runtime.broker import Topic

VISIBLE_SECONDS = 20.0
"""How long a new topic may take until every broker knows it."""
# What was asked for cannot be: another name, or another number, would do.
_REFUSED_TOPIC = frozenset(
    {KafkaError.TOPIC_EXCEPTION, KafkaError.INVALID_PARTITIONS, KafkaError.POLICY_VIOLATION}
)


class KafkaBroker:
    """A cluster of Apache Kafka; see `penstock.runtime.broker.Broker`. The first call connects.

    Args:
        servers: bootstrap addresses, host:port, several separated by commas.
        properties: librdkafka properties on top of ours, for security and the network.
    """

    def __init__(self, servers: str, properties: Mapping[str, str] | None = None) -> None:
        self._servers = servers
        self._properties = dict(properties or {})

    def consumer(self, *, group: str, slot: str) -> KafkaConsumer:
        config, contact = self._client()
        return KafkaConsumer(config, contact, group=group, slot=slot)

    def reader(self, offsets: Mapping[TopicPartition, int]) -> KafkaReader:
        config, contact = self._client()
        return KafkaReader(config, contact, offsets)

    def transactional(self, transactional_id: str) -> KafkaTransactionalProducer:
        config, _ = self._client()
        return KafkaTransactionalProducer(config, transactional_id)

    def producer(self) -> KafkaProducer:
        config, _ = self._client()
        return KafkaProducer(config)

    def create(self, topics: Sequence[Topic]) -> list[str]:
        wanted = [
            NewTopic(topic.name, num_partitions=topic.partitions, config=dict(topic.config))
            for topic in topics
        ]
        if not wanted:
            return []
        created = []
        for name, future in self._admin.create_topics(wanted).items():
            try:
                self._answer(f"to create {name}", future)
                created.append(name)
            except KafkaException as exception:
                error = error_of(exception)
                if error.code() in _REFUSED_TOPIC:
                    why = f"topic {name} cannot be created: {error.str()}"
                    raise Invalid(why, reason="topic") from exception
                if error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
        self._wait_visible([topic for topic in topics if topic.name in created])
        return created

    def topics(self) -> dict[str, int]:
        found = self._metadata().topics
        return {name: len(topic.partitions) for name, topic in found.items() if not name.startswith("__")}

    def config(self, topic: str) -> dict[str, str]:
        """The topic's own settings; what it has from the cluster's defaults is left out."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        entries = self._answer(f"for settings of {topic}", self._admin.describe_configs([resource])[resource])
        own = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
        return {name: entry.value for name, entry in entries.items() if entry.source == own}

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        wanted = list(partitions)
        # Both are asked for before either is waited for: it is half the time.
        first = self._asked(wanted, OffsetSpec.earliest())  # type: ignore[no-untyped-call] # the client's own
        last = self._asked(wanted, OffsetSpec.latest())  # type: ignore[no-untyped-call] # as above
        starts, ends = self._offsets(first), self._offsets(last)
        return {partition: (starts[partition], ends[partition]) for partition in wanted}

    def unsettled(self, partitions: Iterable[TopicPartition]) -> frozenset[TopicPartition]:
        wanted = list(partitions)
        # The stable end first: what is written in between only makes this err on the side of waiting.
        stable = self._offsets(self._asked(wanted, OffsetSpec.latest()))  # type: ignore[no-untyped-call] # as above
        written = self._asked(wanted, OffsetSpec.latest(), ck.IsolationLevel.READ_UNCOMMITTED)  # type: ignore[no-untyped-call] # as above
        ends = self._offsets(written)
        return frozenset(each for each in wanted if stable[each] < ends[each])

    def cluster_id(self) -> str:
        found: str = self._answer("for the cluster", self._admin.describe_cluster()).cluster_id
        return found

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        answers = self._admin.describe_topics(TopicCollection(list(topics)))
        return {name: str(self._answer(f"for {name}", future).topic_id) for name, future in answers.items()}

    def close(self) -> None:
        self.__dict__.pop("_admin", None)

    @cached_property
    def _admin(self) -> AdminClient:
        config, _ = self._client()
        return AdminClient(config)

    def _client(self) -> tuple[dict[str, Any], Contact]:
        contact = Contact(self._servers)
        return client_config(contact, self._properties), contact

    def _metadata(self) -> Any:
        try:
            return self._admin.list_topics(timeout=ANSWER_SECONDS)
        except KafkaException as exception:
            raise Contact(self._servers).away(error_of(exception).str()) from exception

    def _answer(self, what: str, future: Future[Any]) -> Any:
        try:
            return future.result(ANSWER_SECONDS)
        except KafkaException as exception:
            raise_verdict(f"asked {what}", exception)
        except TimeoutError as error:
            raise Contact(self._servers).away(f"asked {what}") from error

    def _asked(
        self,
        partitions: list[TopicPartition],
        spec: OffsetSpec,
        isolation: ck.IsolationLevel = ck.IsolationLevel.READ_COMMITTED,
    ) -> Mapping[Any, Future[Any]]:
        """Offsets that are asked for, and on their way."""
        if not partitions:
            return {}
        asked = {ck.TopicPartition(p.topic, p.partition): spec for p in partitions}
        answers: Mapping[Any, Future[Any]] = self._admin.list_offsets(asked, isolation_level=isolation)
        return answers

    def _offsets(self, answers: Mapping[Any, Future[Any]]) -> dict[TopicPartition, int]:
        return {
            TopicPartition(p.topic, p.partition): self._answer(f"for offsets of {p.topic}", future).offset
            for p, future in answers.items()
        }

    def _leads(self, topics: Sequence[Topic]) -> bool:
        """Whether the leaders know that they lead, which is later than that everybody else does."""
        try:
            self.ends(
                TopicPartition(topic.name, each) for topic in topics for each in range(topic.partitions)
            )
        except Unavailable:
            return False
        return True

    def _wait_visible(self, topics: Sequence[Topic]) -> None:
        """A topic is created before brokers tell of it; who writes in between is told that there is none."""
        deadline = time.monotonic() + VISIBLE_SECONDS
        while True:
            known = self._metadata().topics
            led = {
                name: sum(partition.leader >= 0 for partition in topic.partitions.values())
                for name, topic in known.items()
            }
            hidden = [topic.name for topic in topics if led.get(topic.name) != topic.partitions]
            if not hidden and self._leads(topics):
                return
            if time.monotonic() > deadline:
                late = ", ".join(hidden) or "leaders"
                raise Unavailable(f"created, but not known to the brokers yet: {late}")
            time.sleep(0.02)
