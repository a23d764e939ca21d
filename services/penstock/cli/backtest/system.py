"""The whole system on the broker in memory: every task of every service, stepped in one thread.

The tasks come in the order in which a record travels, so one round takes a row from raw event to summary; the
join in particular reads labels only after the rows that came with them are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from penstock.governor.task import GovernorTask
from penstock.inference.loader import AtOnce, Shelf
from penstock.inference.stream import StreamTask
from penstock.inference.tally import Tally
from penstock.ingest.service import TASKS as INGEST
from penstock.monitor.core import MonitorCore
from penstock.monitor.task import MonitorTask
from penstock.registry.task import RegistryTask
from penstock.runtime.broker import Broker
from penstock.runtime.catalog import Catalog, Names
from penstock.runtime.codec import Codec, Decoded
from penstock.runtime.loop import Loop, Task
from penstock.runtime.memory import Desk, MemoryBroker
from penstock.runtime.telemetry import Telemetry, off
from penstock.trainer.inline import Inline
from penstock.trainer.task import TrainerTask

MakeTask = Callable[[Catalog, Broker], Task]

TASKS: Final[dict[str, MakeTask]] = {
    "intake": INGEST["intake"],
    "inference": lambda catalog, broker: StreamTask(catalog, broker, Shelf(AtOnce()), Tally()),
    "join": INGEST["join"],
    "summarise": INGEST["summarise"],
    "monitor": lambda catalog, broker: MonitorTask(catalog, broker, MonitorCore(catalog, broker)),
    "governor": GovernorTask,
    "trainer": lambda catalog, broker: TrainerTask(catalog, broker, Inline()),
    "registry": RegistryTask,
}


@dataclass(slots=True, kw_only=True)
class _Worker:
    """A task in its loop, with the broker as it sees it."""

    loop: Loop
    desk: Desk
    again: bool = True
    """Whether the last round did something, so that there may be more to do."""

    def step(self) -> bool:
        self.again = self.loop.step()
        return self.again


class MemorySystem:
    """Tasks on a broker in memory.

    Args:
        broker: theirs alone.
        prefix: of its topics.
        tasks: by name, in the order in which they are stepped.
        telemetry: is told what they do.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        prefix: str,
        tasks: Mapping[str, MakeTask] = TASKS,
        telemetry: Callable[[], Telemetry] = off,
    ) -> None:
        self.broker = broker
        self.names = Names(prefix)
        self._tasks = dict(tasks)
        self._telemetry = telemetry
        self._workers: dict[str, _Worker] = {}
        self._memory: dict[bytes, Decoded] = {}

    def codec(self) -> Codec:
        """For whoever reads along: it knows the schemas of the log so far, and what was read already."""
        codec = Codec(memory=self._memory)
        for record in self.broker.records(self.names.of("schemas")):
            codec.learn(record.value or b"")
        return codec

    def restart(self, name: str) -> None:
        """A new process in the same slot: the old one is fenced, what it had in hand is lost."""
        desk = Desk(self.broker)
        catalog = Catalog(desk, self.names, codec=Codec(memory=self._memory))
        loop = Loop(
            self._tasks[name](catalog, desk),
            desk,
            service=name,
            prefix=self.names.prefix,
            slot="0",
            telemetry=self._telemetry(),
        )
        self._workers[name] = _Worker(loop=loop, desk=desk)

    def task(self, name: str) -> Task:
        """The task itself, for whoever looks into it."""
        return self._workers[name].loop.task

    def step(self, name: str) -> bool:
        """One round of one task; whether anything was done."""
        if name not in self._workers:
            self.restart(name)
        return self._workers[name].step()

    def settle(self, *, rounds: int = 10_000) -> None:
        """Step whoever has something to read until nobody has anything to do.

        Raises:
            RuntimeError: it does not come to rest in so many rounds.
        """
        for name in self._tasks:
            if name not in self._workers:
                self.restart(name)
        workers = list(self._workers.values())
        for worker in workers:  # what was aborted, or came too early, gets one more try
            worker.again = worker.again or worker.loop.restoring
        for _ in range(rounds):
            stepped = [worker.step() for worker in workers if worker.again or worker.desk.news]
            if not stepped:
                return
        raise RuntimeError(f"still busy after {rounds} rounds")
