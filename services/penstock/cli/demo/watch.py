"""Follows the summaries of a pipeline: how far in event time the system has judged."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from penstock.contracts.records import Summary
from penstock.kernel.blocks import watermark
from penstock.kernel.hashing import partition_of
from penstock.runtime.broker import TopicPartition
from penstock.runtime.codec import Codec
from penstock.runtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.runtime.broker import Broker

POLL_SECONDS = 0.1
AGAIN_SECONDS = 0.5
"""Between two attempts to reach a broker that is away."""


class Watch:
    """Reads the summaries in a thread of its own until it is told to stop.

    Args:
        broker: where from.
        topic: the full name of the summaries' topic.
        pipeline: whose summaries.
        judged: called with the watermark whenever it has moved on.
    """

    def __init__(self, broker: Broker, topic: str, pipeline: str, judged: Callable[[int], None]) -> None:
        self._broker = broker
        self._topic = topic
        self._pipeline = pipeline
        self._judged = judged
        self._codec = Codec()
        self._seen: dict[str, int | None] = {}
        self._idle: frozenset[str] = frozenset()
        self._watermark: int | None = None
        self._stop = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Follow the topic; a broker that is away is waited for."""
        position: int | None = None
        while not self._stop.is_set():
            try:
                position = self._follow(position)
            except Unavailable:
                self._stop.wait(AGAIN_SECONDS)

    def _follow(self, position: int | None) -> int | None:
        partitions = self._broker.topics()[self._topic]
        where = TopicPartition(self._topic, partition_of(self._pipeline.encode(), partitions))
        if position is None:
            position = self._broker.ends([where])[where][0]
        reader = self._broker.reader({where: position})
        try:
            while not self._stop.is_set():
                for record in reader.poll(500, POLL_SECONDS).records:
                    position = record.offset + 1
                    if record.value is not None:
                        self._take(self._codec.decode(record.value).value)
        except Unavailable:
            pass  # from where we are, with a new reader
        finally:
            reader.close()
        return position

    def _take(self, event: object) -> None:
        match event:
            case Summary(pipeline=self._pipeline, watermark=int()):
                partition = str(event.partition)
                self._seen[partition] = event.watermark
                self._idle = self._idle | {partition} if event.idle else self._idle - {partition}
                before = self._watermark
                self._watermark = watermark(self._seen, idle=self._idle, before=before)
                if self._watermark is not None and self._watermark != before:
                    self._judged(self._watermark)
            case _:
                pass
