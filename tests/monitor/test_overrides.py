"""What the overrides rely on in the pinned versions, each with the fault that it is there for."""

from __future__ import annotations

import asyncio
import inspect
from collections import defaultdict
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped]
from aiokafka.consumer.group_coordinator import GroupCoordinator  # type: ignore[import-untyped]
from faust.transport.consumer import Consumer as StockConsumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from intervaltree import IntervalTree  # type: ignore[import-untyped]
from mode.utils.queues import FlowControlEvent, ThrowableQueue

from penstock.monitor.faust.app import MonitorApp
from penstock.monitor.faust.overrides import Consumer, ConsumerThread, Flow
from penstock.monitor.settings import MonitorSettings
from penstock.runtime.broker import Record

Result = TypeVar("Result")


def with_app(look: Callable[[MonitorApp], Awaitable[Result]]) -> Result:
    """Made where a loop runs, as the service makes it."""

    async def made() -> Result:
        return await look(MonitorApp(MonitorSettings(broker="a:1,b:2", slot="7")))

    return asyncio.run(made())


def test_the_versions_are_those_the_overrides_were_written_for() -> None:
    found = {name: version(name) for name in ("faust-streaming", "mode-streaming", "aiokafka")}
    assert found == {"faust-streaming": "0.15.3", "mode-streaming": "0.7.1", "aiokafka": "0.14.0"}


@pytest.mark.parametrize(("flow", "left"), [(Flow, 1), (FlowControlEvent, 0)])
def test_resuming_keeps_what_was_delivered_and_stock_throws_it_away(
    flow: type[FlowControlEvent], left: int
) -> None:
    async def delivered() -> tuple[int, bool]:
        control = flow()
        queue: ThrowableQueue[str] = ThrowableQueue(maxsize=9, flow_control=control, clear_on_resume=True)
        control.suspend()
        queue.force_put_nowait("an event")
        control.resume()
        return queue.qsize(), control.is_active()

    assert asyncio.run(delivered()) == (left, True)


def test_every_queue_is_under_our_flow_control() -> None:
    async def look(app: MonitorApp) -> bool:
        return app.FlowControlQueue()._flow_control is app.flow_control and type(app.flow_control) is Flow

    assert with_app(look)


@pytest.mark.parametrize(("kind", "gap"), [(Consumer, {4, 5}), (driver.Consumer, {4, 5, 6})])
def test_a_gap_ends_before_the_next_record_and_stock_includes_it(
    kind: type[StockConsumer], gap: set[int]
) -> None:
    where = TP("summaries", 0)
    consumer = kind.__new__(kind)
    consumer._committed_offset = {where: None}
    consumer._gap = defaultdict(IntervalTree)
    asyncio.run(consumer._add_gap(where, 4, 6))  # record 3 was the last one, 6 is the next
    assert {offset for each in consumer._gap[where] for offset in range(each.begin, each.end)} == gap


def test_only_committed_records_are_read() -> None:
    async def look(app: MonitorApp) -> tuple[type, str, int]:
        thread = app.consumer._thread  # type: ignore[attr-defined] # of the threaded consumer
        try:
            client = thread._create_worker_consumer(app.transport)
            client._closed = True  # it was never started; it would complain to be forgotten so
            return type(thread), client._isolation_level, client._fetch_max_wait_ms
        finally:
            thread.thread_loop.close()

    assert with_app(look) == (ConsumerThread, "read_committed", 100)
    handed_over = inspect.getsource(AIOKafkaConsumer.start)
    assert "isolation_level=self._isolation_level" in handed_over
    assert "fetch_max_wait_ms=self._fetch_max_wait_ms" in handed_over


def test_whoever_is_forgotten_by_its_group_is_told_so_by_one_method() -> None:
    for where in ("_do_heartbeat", "_do_commit_offsets"):
        assert "self.reset_generation()" in inspect.getsource(getattr(GroupCoordinator, where))


def test_the_environment_of_others_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust lets variables of such common names win over what the program says."""
    monkeypatch.setenv("BROKER_URL", "kafka://elsewhere")
    monkeypatch.setenv("PROCESSING_GUARANTEE", "exactly_once")

    async def look(app: MonitorApp) -> tuple[list[str], bool, str, str]:
        urls = [str(url) for url in app.conf.broker_consumer]
        return urls, app.in_transaction, app.conf.id, app.conf.consumer_group_instance_id

    expected = (["kafka://a:1", "kafka://b:2"], False, "penstock.monitor", "penstock.monitor-7")
    assert with_app(look) == expected


def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with_app(lambda app: app.on_first_start())
    assert list(tmp_path.iterdir()) == []


def test_of_two_states_of_a_key_the_one_that_is_further_on_is_restored() -> None:
    """In whatever order they stand: a process that was stopped for a while may write late."""

    async def look(app: MonitorApp) -> list[bytes | None]:
        app.serve(Nobody(), fail=lambda _: None)
        (table,) = app.tables.values()
        states = [(b"a", b"7\nnew"), (b"a", b"5\nold"), (b"b", b"1\nonce"), (b"b", b"2\ntwice")]
        batch: list[Any] = [
            SimpleNamespace(key=key, value=value, message=SimpleNamespace(value=value, partition=0))
            for key, value in states
        ]
        table.apply_changelog_batch(batch)
        return [app.recall(key) for key in (b"a", b"b", b"c")]

    assert with_app(look) == [b"7\nnew", b"2\ntwice", None]


class Nobody:
    """A handler for an app that is never started."""

    async def handle(self, record: Record) -> None:
        raise NotImplementedError

    def forget(self) -> None:
        """It knows nothing."""
