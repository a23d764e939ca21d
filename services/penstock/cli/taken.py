"""Data quality: what became of producers' records lately, by topic and by rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from penstock.cli.output import table
from penstock.cli.times import iso
from penstock.contracts.records import RecordsTaken
from penstock.kernel.errors import Invalid
from penstock.runtime.broker import TopicPartition
from penstock.runtime.codec import UnknownSchema
from penstock.runtime.fold import read_range

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.runtime.broker import Broker

LATELY: Final = 1000
"""Transactions of intake that "lately" means: the log of a busy day has a million."""


@dataclass(slots=True)
class Topic:
    """What became of the records of one producers' topic.

    Args:
        name: of the topic.
        events: events, or labels.
    """

    name: str
    events: bool
    seen: int = 0
    taken: int = 0
    duplicates: int = 0
    rules: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    @property
    def refused(self) -> int:
        return sum(count for (_, _, action), count in self.rules.items() if action == "dead_letter")

    def add(self, part: RecordsTaken) -> None:
        self.seen += part.seen
        self.taken += part.taken
        self.duplicates += part.duplicates
        for each in part.rules:
            self.rules[each.field, each.rule, each.action] += each.count

    def share(self, count: int) -> str:
        return f"{count / self.seen:.2%}" if self.seen else "–"

    def told(self) -> dict[str, Any]:
        """For programs."""
        return {
            "topic": self.name,
            "events": self.events,
            "seen": self.seen,
            "taken": self.taken,
            "duplicates": self.duplicates,
            "refused": self.refused,
            "rules": [
                {"field": field, "rule": rule, "action": action, "count": count, "share": count / self.seen}
                for (field, rule, action), count in self.rules.most_common()
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Lately:
    """What became of producers' records since a time of our own, None where nothing was read yet."""

    since: int | None
    topics: list[Topic]

    def told(self) -> dict[str, Any]:
        """For programs."""
        return {
            "since": None if self.since is None else iso(self.since),
            "topics": [topic.told() for topic in self.topics],
        }

    def text(self) -> str:
        """For people."""
        if self.since is None:
            return "Data quality: no record was read yet"
        lines = [f"Data quality since {iso(self.since)}", *_lines(map(_summed, self.topics))]
        rules = [line for topic in self.topics for line in _broken(topic)]
        lines += ["", *_lines(rules)] if rules else ["  no rule was broken"]
        return "\n".join(lines)


def lately(broker: Broker, topic: str, decode: Callable[[bytes], Any]) -> Lately:
    """What the last transactions of intake made of the records they read.

    Args:
        broker: where.
        topic: the full name of the pipeline's topic of data quality.
        decode: what its records say.

    Raises:
        Unavailable: the broker went away.
    """
    partitions = [TopicPartition(topic, number) for number in range(broker.topics().get(topic, 0))]
    ranges = {
        where: (max(start, end - LATELY), end) for where, (start, end) in broker.ends(partitions).items()
    }
    found: dict[tuple[bool, str], Topic] = {}
    since: int | None = None
    for batch in read_range(broker, ranges) if partitions else ():
        for record in batch:
            try:
                part = decode(record.value or b"")
            except (Invalid, UnknownSchema):
                continue  # of a later build
            if isinstance(part, RecordsTaken):
                since = record.timestamp if since is None else min(since, record.timestamp)
                found.setdefault((not part.events, part.topic), Topic(part.topic, part.events)).add(part)
    return Lately(since=since, topics=[each for _, each in sorted(found.items())])


def _summed(topic: Topic) -> dict[str, Any]:
    return {
        "topic": topic.name,
        "seen": topic.seen,
        "taken": topic.taken,
        "again": topic.duplicates,
        "refused": topic.refused,
        "share": topic.share(topic.refused),
    }


def _broken(topic: Topic) -> list[dict[str, Any]]:
    return [
        {
            "topic": topic.name,
            "field": field or None,
            "rule": rule,
            "then": action,
            "records": count,
            "share": topic.share(count),
        }
        for (field, rule, action), count in topic.rules.most_common()
    ]


def _lines(rows: Any) -> list[str]:
    return [f"  {line}" for line in table(list(rows)).splitlines()]
