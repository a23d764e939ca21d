"""Follows what the system says of itself: how far it has judged, what it waits for, what it decides.

How far event time is judged is the governor's clock, which stands in the same transaction as its decisions.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from penstock.cli.demo.arrivals import Arrivals
from penstock.contracts.records import GovernorState, ModelRegistered, ReplicaReported
from penstock.kernel.hashing import partition_of
from penstock.runtime.broker import TopicPartition
from penstock.runtime.codec import Codec
from penstock.runtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from penstock.cli.demo.pace import Pace
    from penstock.cli.demo.script import Script
    from penstock.runtime.broker import Broker, Record
    from penstock.runtime.catalog import Names

POLL_SECONDS = 0.1
AGAIN_SECONDS = 0.5
"""Between two attempts to reach a broker that is away."""
CONTROL = ("governor-state", "replicas", "models", "decisions")


class Watch:
    """Reads in a thread of its own until it is told to stop, from the beginning.

    Args:
        broker: where from.
        names: of the topics.
        pipeline: that is watched.
        script: what is being sent.
        pace: told how far the producers may go.
        tell: called with each state of the governor, each model and each decision, in their order.
    """

    def __init__(
        self,
        broker: Broker,
        names: Names,
        pipeline: str,
        script: Script,
        pace: Pace,
        *,
        tell: Callable[[Any], None] = lambda _event: None,
    ) -> None:
        self._broker = broker
        self._names = names
        self._pipeline = pipeline
        self._pace = pace
        self._tell = tell
        self._codec = Codec()
        self._predictions = Arrivals(script.event_times, [each.key or b"" for each in script.events])
        self._labels = Arrivals(script.label_times, [each.key or b"" for each in script.labels])
        own = names.of
        self._takes: dict[str, Callable[[Record], None]] = {
            **{own(topic): self._control for topic in CONTROL},
            own("predictions", pipeline): self._predicted,
            own("labels", pipeline): self._labelled,
            # What was refused will never come: nobody has to wait for it.
            names.dead_letters("ingest", pipeline): self._refused,
            names.dead_letters("inference", pipeline): self._refused,
        }
        self._positions: dict[TopicPartition, int] = {}
        self._replicas: dict[str, frozenset[int]] = {}
        self._stop = threading.Event()
        self.state: GovernorState | None = None
        """The governor's, as last seen."""
        self.decisions: list[Any] = []

    @property
    def waits(self) -> bool:
        """Whether a training is under way, or a version is routed that some replica has not loaded yet.

        Who of the loaded ones answers changes no decision: every version scores every row.
        """
        state = self.state
        if state is None or state.pending is not None:
            return True
        routed = {state.champion, state.canary, state.split, *state.shadows} - {None}
        return not self._replicas or any(not routed <= loaded for loaded in self._replicas.values())

    @property
    def now(self) -> int | None:
        """Event time up to which everything is judged; None before anything is."""
        return None if self.state is None else self.state.judged

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Follow the topics; a broker that is away is waited for."""
        self._pace.predicted(self._predictions.reached)
        self._pace.labelled(self._labels.reached)  # of no labels at all, everything is there
        while not self._stop.is_set():
            try:
                self._follow()
            except Unavailable:
                self._stop.wait(AGAIN_SECONDS)

    def _follow(self) -> None:
        if not self._positions:
            self._positions = self._starts(self._broker.topics())
        reader = self._broker.reader(self._positions)
        try:
            while not self._stop.is_set():
                for record in reader.poll(500, POLL_SECONDS).records:
                    self._positions[TopicPartition(record.topic, record.partition)] = record.offset + 1
                    self._takes[record.topic](record)
        finally:
            reader.close()

    def _starts(self, counts: Mapping[str, int]) -> dict[TopicPartition, int]:
        where: Sequence[TopicPartition] = [
            TopicPartition(topic, partition)
            for topic, take in self._takes.items()
            for partition in self._partitions(counts[topic], whole=take != self._control)
        ]
        return {each: start for each, (start, _) in self._broker.ends(where).items()}

    def _partitions(self, count: int, *, whole: bool) -> Sequence[int]:
        return range(count) if whole else [partition_of(self._pipeline.encode(), count)]

    def _predicted(self, record: Record) -> None:
        if self._predictions.came(record.key):
            self._pace.predicted(self._predictions.reached)

    def _labelled(self, record: Record) -> None:
        if self._labels.came(record.key):
            self._pace.labelled(self._labels.reached)

    def _refused(self, record: Record) -> None:
        self._predicted(record)
        self._labelled(record)

    def _control(self, record: Record) -> None:
        if record.value is None:  # a replica has ended: nobody waits for what it loads
            self._replicas.pop((record.key or b"").decode().partition("/")[0], None)
            return
        event = self._codec.decode(record.value).value
        if getattr(event, "pipeline", None) != self._pipeline:
            return
        match event:
            case ReplicaReported():
                self._replicas[event.slot] = frozenset(event.loaded)
            case GovernorState():
                self.state = event
                self._tell(event)
            case ModelRegistered():
                self._tell(event)
            case _ if hasattr(event, "policy"):
                self.decisions.append(event)
                self._tell(event)
            case _:
                pass
        if self.state is not None and self.state.judged is not None and not self.waits:
            self._pace.judged(self.state.judged)
