"""A core that is easy to check: it adds up numbers by key. Run as a module, it is the monitor with it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

import orjson

from penstock.kernel.errors import Invalid
from penstock.kernel.hashing import partition_of
from penstock.monitor.ledger import SOURCE, Taken
from penstock.monitor.settings import MonitorSettings
from penstock.runtime.broker import Broker, Message, Record
from penstock.runtime.catalog import Catalog, Names

OUTPUT = "evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """What has been added up for a key."""

    count: int = 0
    total: int = 0


class ToyCore:
    """Says each new sum, under an id that follows from the sum's ordinal."""

    def __init__(self, catalog: Catalog, broker: Broker) -> None:  # noqa: ARG002 - as every core is made
        self._names = catalog.names

    def refresh(self) -> None:
        """It follows nothing."""

    def take(self, state: Sum | None, record: Record) -> Taken[Sum]:
        try:
            number = int(record.value or b"")
        except ValueError as error:
            raise Invalid("it is no number", reason="undecodable") from error
        before = state or Sum()
        after = replace(before, count=before.count + 1, total=before.total + number)
        if number == 0:  # nothing worth saying
            return Taken(after)
        key = (record.key or b"").decode()
        said = {"id": f"{key}/{after.count}", "key": key, "number": number, "total": after.total}
        return Taken(after, [Message(self._names.of(OUTPUT), orjson.dumps(said), record.key)])

    def dump(self, state: Sum) -> bytes:
        return orjson.dumps([state.count, state.total])

    def load(self, payload: bytes) -> Sum:
        count, total = orjson.loads(payload)
        return Sum(count=count, total=total)

    def close(self) -> None:
        """It holds nothing."""


def summary(names: Names, partitions: int, key: str, number: int | bytes) -> Message:
    """A number for a key, where the summaries of a pipeline of that name would be."""
    value = number if isinstance(number, bytes) else b"%d" % number
    return Message(names.of(SOURCE), value, key.encode(), (), partition_of(key.encode(), partitions))


def firsts(records: Iterable[Record]) -> dict[str, list[dict[str, object]]]:
    """What each key's reader sees who keeps the first of an id, in order; a repeat is to be the same."""
    seen: dict[str, bytes] = {}
    by_key: dict[str, list[dict[str, object]]] = {}
    for record in records:
        value = record.value or b""
        said = orjson.loads(value)
        if said["id"] in seen:
            assert seen[said["id"]] == value
            continue
        seen[said["id"]] = value
        by_key.setdefault(said["key"], []).append(said)
    return by_key


if __name__ == "__main__":
    from penstock.monitor.faust.serve import serve

    serve(MonitorSettings.read(os.environ), ToyCore)
