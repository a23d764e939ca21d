"""The one Faust app: an agent on `summaries`, a table restored from `monitor-state`, and how it is set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import faust
from faust.types import TP

from penstock.monitor.faust.overrides import LOGGER, App
from penstock.monitor.faust.security import credentials
from penstock.monitor.ledger import NAME, SOURCE, STATE, position_of
from penstock.runtime.broker import Message, Record, TopicPartition
from penstock.runtime.catalog import Names
from penstock.runtime.errors import Fenced
from penstock.runtime.settings import Settings

Fail = Callable[[BaseException], None]
"""Ends the process: it does not return."""


class Handles(Protocol):
    """What the agent does with a record; see `penstock.monitor.faust.handler`."""

    async def handle(self, record: Record) -> None: ...

    def forget(self) -> None: ...


class States(faust.Table[bytes, bytes]):
    """The states as they are restored: of each key the one that is furthest on."""

    logger = LOGGER

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        for event in batch:
            if position_of(event.value) >= position_of(self.data.get(event.key)):
                super().apply_changelog_batch([event])


class MonitorApp(App):
    """The app, with the two things a handler needs of it."""

    def __init__(self, settings: Settings) -> None:
        group = f"{settings.prefix}{NAME}"
        super().__init__(group, **_options(settings, group))
        self.names = Names(settings.prefix)
        self._states: Mapping[bytes, bytes] = {}
        self._fail: Fail | None = None

    async def write(self, messages: Sequence[Message]) -> None:
        """Send, and wait until the broker has it all."""
        sent = [
            await self.producer.send(
                each.topic, each.key, each.value, each.partition, None, list(each.headers) or None
            )
            for each in messages
        ]
        await asyncio.gather(*sent)

    def reached(self, where: TopicPartition) -> int | None:
        """The end of an assigned partition when it was last asked for records; None before that."""
        found: int | None = self.consumer.highwater(TP(where.topic, where.partition))
        return found

    def recall(self, key: bytes) -> bytes | None:
        """The state of a key as it was restored; newer ones are the handler's own to know."""
        return self._states.get(key)

    def lost_place(self) -> None:
        if self._fail is not None:
            self._fail(Fenced("the group gave this slot to another, or heard nothing of it for too long"))

    def serve(self, handler: Handles, fail: Fail) -> None:
        """Declare the table and the agent."""
        self._fail = fail
        table: Any = self.Table(
            "states",
            changelog_topic=self.topic(self.names.of(STATE), schema=_raw()),
            schema=_raw(),
        )
        # The handler writes the changelog itself, for it has to know when the broker has a state: with
        # Faust's own writing an offset may be committed while its change waits in a buffer.
        self._states = table.data

        @table.on_recover  # type: ignore[untyped-decorator] # Faust's own
        async def _restored() -> None:
            handler.forget()

        async def monitor(stream: faust.StreamT[bytes]) -> None:
            async for event in stream.events():
                # Faust counts an event as processed however it leaves this block, by a cancellation too.
                # So whatever goes wrong ends the process before: nothing that is not done is committed.
                try:
                    await handler.handle(_record(event.message))
                except BaseException as error:  # noqa: BLE001
                    fail(error)

        self.agent(self.topic(self.names.of(SOURCE), schema=_raw()), name=NAME)(monitor)


def _raw() -> Any:
    """Keys and values as they are; whoever takes a record decodes it."""
    return faust.Schema(key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def _record(message: Any) -> Record:
    """Faust's message as the record it was."""
    return Record(
        message.topic,
        message.partition,
        message.offset,
        round(message.timestamp * 1000),
        message.key,
        message.value,
        tuple((name, value or b"") for name, value in message.headers or ()),
    )


def _options(settings: Settings, group: str) -> dict[str, Any]:
    return {
        "env": {},  # Faust lets BROKER_URL and the like, which others set, win over what is given here
        "broker": ";".join(f"kafka://{each.strip()}" for each in settings.broker.split(",")),
        "broker_credentials": credentials(settings.kafka),
        "Table": States,
        "store": "memory://",
        "processing_guarantee": "at_least_once",
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "table_standby_replicas": 0,
        "web_enabled": False,
        # A static member: restarted in its slot, it has its partitions back without a rebalance, and 1.5 to 3
        # seconds after a SIGKILL it is at work again instead of 9 to 12.
        "consumer_group_instance_id": f"{group}-{settings.slot}",
        "consumer_auto_offset_reset": "earliest",
        "broker_session_timeout": 10.0,
        "broker_rebalance_timeout": 10.0,
        "broker_heartbeat_interval": 2.0,
        "broker_commit_interval": 1.0,
        "stream_wait_empty": True,
        "producer_acks": -1,
        "producer_linger": 0.0,
        "producer_max_request_size": 1_048_576,  # as all producers of ours
    }
