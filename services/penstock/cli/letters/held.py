"""Dead letters as they lie in their topics: where these are, and what was done about each letter there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, Literal

from penstock.cli.exits import Exit, Failure
from penstock.cli.letters.marks import Mark, read_marks
from penstock.cli.output import counted
from penstock.contracts.records import DeadLetter, LetterAction, Source
from penstock.contracts.topics import TOPICS
from penstock.kernel.errors import Invalid
from penstock.runtime.broker import TopicPartition
from penstock.runtime.codec import Codec, UnknownSchema
from penstock.runtime.deadletter import GAP, HEADER
from penstock.runtime.fold import read_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from penstock.runtime.broker import Broker, Record

State = Literal["open", "retried", "dropped"]
_STATES: Final[dict[LetterAction, State]] = {
    LetterAction.RETRIED: "retried",
    LetterAction.DROPPED: "dropped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A record that was set aside, why, and the last thing that an operator did about it."""

    record: Record
    why: DeadLetter
    mark: Mark | None = None

    @property
    def place(self) -> Source:
        """Where the letter itself stands."""
        return Source(topic=self.record.topic, partition=self.record.partition, offset=self.record.offset)

    @property
    def origin(self) -> str:
        return place_text(self.why.source)

    @property
    def state(self) -> State:
        return "open" if self.mark is None else _STATES[self.mark.event.action]

    @property
    def carried(self) -> bool:
        """Whether it holds its record; else that has to be read where it came from."""
        return bool(self.why.retry)

    @property
    def lost(self) -> bool:
        """Whether nobody has the record any more: retention was faster than the service."""
        return self.why.reason == GAP

    @property
    def command(self) -> str | None:
        """What retries it; None where nothing can."""
        if self.lost:
            return None
        return self.why.retry or f"penstock dlq retry {self.record.topic} --origin {self.origin}"


def place_text(place: Source) -> str:
    """A place in the log as it stands on the command line.

    >>> place_text(Source(topic="crm.events", partition=2, offset=17))
    'crm.events/2/17'
    """
    return f"{place.topic}/{place.partition}/{place.offset}"


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


def letters(broker: Broker, topics: Iterable[str], prefix: str) -> list[Letter]:
    """Every dead letter of these topics, in the order in which they were set aside.

    What somebody else wrote there carries no reason of ours and is left out; `penstock tail` shows it.
    """
    counts = broker.topics()
    codec = Codec()
    for record in _records(broker, [f"{prefix}schemas"], counts):
        if record.value is not None:
            codec.learn(record.value)
    marks = read_marks(_records(broker, [f"{prefix}dead-letter-marks"], counts), codec)
    found = []
    for record in _records(broker, topics, counts):
        why = _why(record, codec)
        if why is not None:
            letter = Letter(record=record, why=why)
            mark = marks.get(letter.place)
            # A topic that was made anew has other letters at the same places.
            if mark is not None and mark.stamp >= record.timestamp:
                letter = Letter(record=record, why=why, mark=mark)
            found.append(letter)
    return sorted(found, key=_age)


def by_reason(found: Iterable[Letter]) -> str:
    """How many of each reason, in words.

    >>> by_reason([])
    'none'
    """
    counts = Counter(letter.why.reason for letter in found)
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common()) or "none"


def by_state(found: Iterable[Letter]) -> str:
    """How many of each state, in words: `3 retried and 1 dropped`; empty where there are none."""
    counts = Counter(letter.state for letter in found)
    return " and ".join(f"{count:,} {state}" for state, count in counts.most_common())


def count_of(found: Iterable[Letter]) -> str:
    """`1 dead letter`, `12 dead letters`."""
    return counted(sum(1 for _ in found), "dead letter")


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
