"""The control topics as an operator's memory: every event of a pipeline by its place, and what caused it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from penstock.cli.applied import applied, chosen, known_codec
from penstock.contracts.records import FactTaken, Heartbeat, Source
from penstock.kernel.errors import Invalid
from penstock.kernel.hashing import partition_of
from penstock.runtime.broker import TopicPartition
from penstock.runtime.codec import UnknownSchema
from penstock.runtime.fold import read_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from penstock.kernel.pipeline import Pipeline
    from penstock.runtime.broker import Broker, Record
    from penstock.runtime.catalog import Names
    from penstock.runtime.codec import Codec

E = TypeVar("E")
# Read whole when one of their records is asked for: they are small, and a chain of causes runs through them.
_WHOLE: Final = ("decisions", "evidence", "candidates", "lifecycle", "jobs", "commands", "governor-journal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Generic[E]):
    """An event where it stands."""

    place: Source
    stamp: int
    """Of the record: processing time, milliseconds."""
    event: E
    value: bytes
    """As it is written."""


class ControlLog:
    """Reads each topic once, when it is first asked for.

    Args:
        broker: where.
        names: of its topics.
        pipeline: whose events; of all pipelines where left out.
        codec: that knows the schemas of the log; made where left out.

    Raises:
        Unavailable: the broker went away.
    """

    def __init__(
        self, broker: Broker, names: Names, pipeline: str | None = None, *, codec: Codec | None = None
    ) -> None:
        self.names = names
        self.pipeline = pipeline
        self._broker = broker
        self._codec = codec or known_codec(broker, names)
        self._read: dict[str, list[Entry[Any]]] = {}
        self._places: dict[str, dict[Source, Entry[Any]]] = {}
        self._begun: dict[str, int] | None = None

    def all(self, topic: str) -> list[Entry[Any]]:
        """Everything on a topic, by its short name; what this build cannot read is left out."""
        self.read(topic)
        return self._read[topic]

    def read(self, *topics: str) -> None:
        """Read several topics in one go, which takes as long as one."""
        missing = [topic for topic in topics if topic not in self._read]
        partitions = [where for topic in missing for where in self.partitions(topic)]
        found: dict[str, list[Entry[Any]]] = {self.names.of(topic): [] for topic in missing}
        for entry in self._entries(self._broker.ends(partitions)) if partitions else ():
            if self._wanted(entry.event):
                found[entry.place.topic].append(entry)
        self._read |= {topic: found[self.names.of(topic)] for topic in missing}

    def of(self, topic: str, kind: type[E]) -> list[Entry[E]]:
        """The events of one kind on a topic."""
        return [entry for entry in self.all(topic) if isinstance(entry.event, kind)]

    def evidence(self) -> list[Entry[Any]]:
        """All evidence, each piece once: the monitor may write one again, and the first counts."""
        last: dict[str, int] = {}
        found = []
        for entry in self.all("evidence"):
            if entry.event.ordinal > last.get(entry.event.pipeline, -1):
                last[entry.event.pipeline] = entry.event.ordinal
                found.append(entry)
        return found

    def begun(self, pipeline: str) -> int | None:
        """Event time of a pipeline's first time block with an outcome: where its days are counted from."""
        if self._begun is None:
            beats = self.of("evidence", Heartbeat)
            # The first of each pipeline: the later ones say the same.
            self._begun = {beat.event.pipeline: beat.event.begun for beat in reversed(beats)}
        return self._begun.get(pipeline)

    def at(self, place: Source) -> Entry[Any] | None:
        """What stands there; None where it is gone, or nobody can read it.

        A record that compaction has removed is still in the governor's journal, if it was a fact.
        """
        short = place.topic.removeprefix(self.names.prefix)
        entry = self._in(short, place) if short in _WHOLE else self._single(place)
        return entry or self._remembered(place)

    def partitions(self, topic: str) -> list[TopicPartition]:
        """Where the events of the pipeline are, or of all; none where there is no topic."""
        name = self.names.of(topic)
        count = self._broker.topics().get(name, 0)
        if self.pipeline is None or not count:
            return [TopicPartition(name, number) for number in range(count)]
        return [TopicPartition(name, partition_of(self.pipeline.encode(), count))]

    def decode(self, value: bytes) -> Any:
        """An event.

        Raises:
            Invalid: it is none.
            UnknownSchema: it is of a build that nobody told of.
        """
        return self._codec.decode(value).value

    def encode(self, event: object) -> bytes:
        """An event as this build writes it."""
        return self._codec.encode(event)

    def _wanted(self, event: Any) -> bool:
        return self.pipeline is None or getattr(event, "pipeline", None) == self.pipeline

    def _in(self, topic: str, place: Source) -> Entry[Any] | None:
        if topic not in self._places:
            self._places[topic] = {entry.place: entry for entry in self.all(topic)}
        return self._places[topic].get(place)

    def _single(self, place: Source) -> Entry[Any] | None:
        where = TopicPartition(place.topic, place.partition)
        if place.partition >= self._broker.topics().get(place.topic, 0):
            return None
        start, end = self._broker.ends([where])[where]
        if not start <= place.offset < end:
            return None
        return next(self._entries({where: (place.offset, place.offset + 1)}), None)

    def _remembered(self, place: Source) -> Entry[Any] | None:
        for entry in self.of("governor-journal", FactTaken):
            taken = entry.event
            if taken.source == place:
                with suppress(Invalid, UnknownSchema):
                    event = self.decode(taken.value)
                    return Entry(place=place, stamp=taken.timestamp, event=event, value=taken.value)
        return None

    def _entries(self, ranges: dict[TopicPartition, tuple[int, int]]) -> Iterator[Entry[Any]]:
        for batch in read_range(self._broker, ranges):
            yield from self._decoded(batch)

    def _decoded(self, records: Iterable[Record]) -> Iterator[Entry[Any]]:
        for record in records:
            if record.value is None:
                continue
            with suppress(Invalid, UnknownSchema):  # of a later build: `penstock tail` shows it
                yield Entry(
                    place=Source(topic=record.topic, partition=record.partition, offset=record.offset),
                    stamp=record.timestamp,
                    event=self.decode(record.value),
                    value=record.value,
                )


def opened(broker: Broker, names: Names, given: str | None) -> tuple[Pipeline, ControlLog]:
    """The pipeline that is meant, as `chosen`, and its log."""
    codec = known_codec(broker, names)
    pipeline = chosen(applied(broker, names, codec), given)
    return pipeline, ControlLog(broker, names, pipeline.name, codec=codec)


def place_text(place: Source) -> str:
    """A place in the log, as `tail` and the dead letters write it.

    >>> place_text(Source(topic="penstock.decisions", partition=1, offset=17))
    'penstock.decisions/1/17'
    """
    return f"{place.topic}/{place.partition}/{place.offset}"
