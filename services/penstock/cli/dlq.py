"""Dead letters as an operator sees them: which topics hold them, which are there, which one is meant."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from penstock.cli.exits import Exit, Failure
from penstock.contracts.records import DeadLetter, Source
from penstock.contracts.topics import TOPICS
from penstock.kernel.errors import Invalid
from penstock.runtime.broker import TopicPartition
from penstock.runtime.codec import Codec, UnknownSchema
from penstock.runtime.deadletter import HEADER
from penstock.runtime.fold import read_range

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from penstock.runtime.broker import Broker, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A record that was set aside, and why."""

    record: Record
    why: DeadLetter

    @property
    def origin(self) -> str:
        return origin_text(self.why.source)


def add_letter(parser: argparse.ArgumentParser) -> None:
    """The arguments that name one letter."""
    parser.add_argument("topic", metavar="TOPIC", help="the dead-letter topic, with or without the prefix")
    parser.add_argument(
        "--origin", required=True, metavar="TOPIC/PARTITION/OFFSET", help="where the record came from"
    )


def origin_text(source: Source) -> str:
    """A place in the log as it stands on the command line."""
    return f"{source.topic}/{source.partition}/{source.offset}"


def origin(text: str) -> Source:
    """A place in the log from the command line.

    >>> origin("crm.events/2/17")
    Source(topic='crm.events', partition=2, offset=17)
    """
    match text.split("/"):
        case [topic, partition, offset] if topic and partition.isdecimal() and offset.isdecimal():
            return Source(topic=topic, partition=int(partition), offset=int(offset))
        case _:
            raise Failure(f"{text!r} is no origin, expected TOPIC/PARTITION/OFFSET", Exit.USAGE)


def holders(word: str | None, prefix: str, there: Iterable[str]) -> list[str]:
    """The dead-letter topics a word means: one by its name, those of a pipeline, or all without a word.

    Args:
        word: a topic with or without the prefix, or a pipeline.
        prefix: of topics.
        there: every topic of the cluster.

    Raises:
        Failure: with exit code 4 where it means none.

    >>> there = ["crm.events", "penstock.churn.dead-letters.ingest", "penstock.dead-letters.trainer"]
    >>> holders("churn", "penstock.", there), holders("dead-letters.trainer", "penstock.", there)
    (['penstock.churn.dead-letters.ingest'], ['penstock.dead-letters.trainer'])
    """
    pipelines: dict[str, list[str]] = {}
    everything: list[str] = []
    for topic in sorted(there):
        for line in TOPICS:
            before, _, after = f"{prefix}{line.name}".partition("{pipeline}")
            pipeline = topic.removeprefix(before).removesuffix(after) if after else ""
            if line.format == "dead_letter" and topic == f"{before}{pipeline}{after}" and "." not in pipeline:
                everything.append(topic)
                pipelines.setdefault(pipeline, []).append(topic)
    if word is None:
        return everything
    if named := [topic for topic in everything if topic in {word, prefix + word}]:
        return named
    if word and word in pipelines:
        return pipelines[word]
    known = [*filter(None, pipelines), *everything, *(topic.removeprefix(prefix) for topic in everything)]
    close = get_close_matches(word, known, n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    raise Failure(f"'{word}' is neither a pipeline nor a dead-letter topic{hint}", Exit.NOT_FOUND)


def letters(broker: Broker, topics: Iterable[str], prefix: str) -> Iterator[Letter]:
    """Every dead letter of these topics, each partition in its order.

    What somebody else wrote there carries no reason of ours and is left out; `penstock tail` shows it.
    """
    counts = broker.topics()
    codec = Codec()
    for record in _records(broker, [f"{prefix}schemas"], counts):
        if record.value is not None:
            codec.learn(record.value)
    for record in _records(broker, topics, counts):
        why = _why(record, codec)
        if why is not None:
            yield Letter(record=record, why=why)


def latest(found: Iterable[Letter], count: int, wanted: Callable[[Letter], bool]) -> list[Letter]:
    """The newest of those wanted, oldest first."""
    return heapq.nlargest(count, filter(wanted, found), key=_age)[::-1]


def find(broker: Broker, word: str, where: Source, prefix: str) -> Letter:
    """The letter of the record that stood there; the newest, should a topic have been made anew.

    Raises:
        Failure: with exit code 4 where there is none.
    """
    topics = holders(word, prefix, broker.topics())
    found = latest(letters(broker, topics, prefix), 1, lambda letter: letter.why.source == where)
    if not found:
        raise Failure(f"no dead letter of {origin_text(where)} on {' or '.join(topics)}", Exit.NOT_FOUND)
    return found[0]


def _age(letter: Letter) -> tuple[int, str, int, int]:
    record = letter.record
    return record.timestamp, record.topic, record.partition, record.offset


def _records(broker: Broker, topics: Iterable[str], counts: dict[str, int]) -> Iterator[Record]:
    partitions = [TopicPartition(topic, number) for topic in topics for number in range(counts.get(topic, 0))]
    for batch in read_range(broker, broker.ends(partitions)):
        yield from batch


def _why(record: Record, codec: Codec) -> DeadLetter | None:
    for name, value in record.headers:
        if name == HEADER:
            try:
                said = codec.decode(value).value
            except (Invalid, UnknownSchema):
                return None
            return said if isinstance(said, DeadLetter) else None
    return None
