"""Letters that ingest itself wrote on the broker in memory, and the verbs that handle them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from penstock.cli import dlq_drop, dlq_export, dlq_list, dlq_retry, dlq_show, main
from penstock.cli.exits import Exit
from penstock.runtime.broker import Message, Record
from tests.scenarios.system import CHURN, System

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from penstock.runtime.broker import Broker
    from penstock.runtime.settings import Settings

HELD = "penstock.churn.dead-letters.ingest"
GOOD: dict[str, object] = {"event_id": "a", "at": "2024-05-01T00:00:00Z", "age": 41, "plan": "pro"}
NOT_JSON = Message("crm.events", b"{oops", b"k\xff", (("tenant", b"north"), ("trace", b"\x00")), 1)
NO_ID = Message("crm.events", b'{"at": "2024-05-01T00:00:00Z"}', None, (), 0)


def lettered(monkeypatch: pytest.MonkeyPatch) -> System:
    """A good event, one without an id, and one that is not JSON, through intake."""
    made = System()
    made.apply(CHURN)
    for message in (NO_ID, NOT_JSON, Message("crm.events", json.dumps(GOOD).encode())):
        made.broker.append(message)
        made.settle()
    connect(made, monkeypatch)
    return made


def connect(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verbs speak to this system."""

    @contextmanager
    def connected(_settings: Settings) -> Iterator[Broker]:
        yield system.broker

    for module in (dlq_list, dlq_show, dlq_retry, dlq_drop, dlq_export):
        monkeypatch.setattr(module, "connected", connected)


def output(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """What a verb prints for programs."""
    assert main(["dlq", *words, "-o", "json"]) == Exit.OK
    return json.loads(capsys.readouterr().out)


def raw(system: System) -> list[Record]:
    """The events' topic, partition by partition."""
    return system.broker.records("crm.events")


def origin_of(system: System, message: Message) -> str:
    """Where a message was first written."""
    record = min((each for each in raw(system) if each.value == message.value), key=lambda each: each.offset)
    return f"crm.events/{record.partition}/{record.offset}"
