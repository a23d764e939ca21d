"""Topics of producers on the broker in memory, written long ago and until now."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from penstock.cli import check, init
from penstock.runtime.broker import Headers, Message, Topic
from penstock.runtime.memory import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import pytest

    from penstock.runtime.settings import Settings

    Encode = Callable[[Mapping[str, Any]], bytes]

HOUR, DAY = 3_600_000, 86_400_000
NOW = 1_772_500_000_000  # 2026-03-03
BEGUN = NOW - 90 * DAY


class Producers:
    """Two topics, and a clock that stands where their records say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *topics: str, partitions: int = 3) -> None:
        self.now = BEGUN
        self.broker = MemoryBroker(now=lambda: self.now)
        self.broker.create([Topic(name=topic, partitions=partitions) for topic in topics])

        @contextmanager
        def connected(_settings: Settings) -> Iterator[MemoryBroker]:
            yield self.broker

        for module in (check, init):
            monkeypatch.setattr(module, "connected", connected)

    def send(
        self,
        topic: str,
        records: Iterable[tuple[int, Mapping[str, Any] | bytes]],
        *,
        encode: Encode = orjson.dumps,
        headers: Callable[[Mapping[str, Any]], Headers] = lambda _: (),
        key: str | None = None,
    ) -> None:
        """Records, each at the time at which it is written."""
        for at, record in records:
            self.now = at
            if isinstance(record, bytes):
                self.broker.append(Message(topic, record))
                continue
            named = None if key is None else str(record[key]).encode()
            self.broker.append(Message(topic, encode(record), named, headers(record)))
        self.now = NOW


def customers(count: int, *, seed: int = 7) -> Iterator[tuple[int, dict[str, Any]]]:
    """Events of all that a field can be."""
    chance = random.Random(seed)  # noqa: S311 - test data
    at = BEGUN
    for number in range(count):
        at += chance.randint(1, 2) * 60 * DAY * 1000 // (1500 * count)
        yield (
            at,
            {
                "event_id": f"c-{number:05d}",
                "at": at - chance.randint(0, 5000),
                "age": chance.choice([None, chance.randint(18, 90)]),
                "visits": int(chance.expovariate(0.1)),
                "plan": chance.choice(["free", "plus", "pro"]),
                "vip": chance.random() < 0.1,
                "user": {
                    "country": chance.choice(["DE", "FR", "NO"]),
                    "email": f"u{number}@example.com",
                    "since": f"20{chance.randint(10, 24)}-03-01T{chance.randint(0, 23):02d}:00:00Z",
                },
                "note": f"free text {number}",
                "source": "web",
                "zip": str(10_000 + number % 500),
                "mixed": 1 if number % 3 else "one",
                "tags": ["a"],
                "signup": 1_500_000_000 + number,
            },
        )


def outcomes(
    events: Iterable[tuple[int, Mapping[str, Any]]], *, median: int = 4 * DAY, seed: int = 11
) -> list[tuple[int, dict[str, Any]]]:
    """A label for each event, so late; in the order in which they come, up to now."""
    chance = random.Random(seed)  # noqa: S311 - test data
    found = []
    for at, event in events:
        known = at + int(chance.lognormvariate(0, 0.5) * median)
        if known < NOW:
            found.append(
                (known, {"event_id": event["event_id"], "at": known, "churned": chance.random() < 0.2})
            )
    return sorted(found, key=lambda pair: pair[0])
