"""A broker in memory whose transactions fail where a test wants them to, before or after each step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from penstock.runtime.broker import Aborted, Consumer, Message, Position, TopicPartition
from penstock.runtime.memory import MemoryBroker, MemoryTransactional

Step = Literal["begin", "send", "offsets", "commit"]
STEPS: tuple[Step, ...] = ("begin", "send", "offsets", "commit")


class Killed(Exception):  # noqa: N818 - says what happened to the process
    """The process is gone at this step: nobody cleans up."""


class FragileBroker(MemoryBroker):
    """Fails once at a step that is asked for, then is whole again."""

    def __init__(self, *, now: Callable[[], int]) -> None:
        super().__init__(now=now)
        self.weak: tuple[Step, bool, type[Exception]] | None = None
        """The next failure: in which step, whether the step is done before, and as what."""
        self.failures = 0
        self.trace: list[str] = []
        """Every step that was begun, in order."""

    def transactional(self, transactional_id: str) -> MemoryTransactional:
        super().transactional(transactional_id)
        self.producers[transactional_id] = FragileTransactional(self)
        return self.producers[transactional_id]

    def kill(self, step: Step, *, done: bool) -> None:
        """The next process that comes by this step dies, with or without having done it."""
        self.weak = step, done, Killed

    def abort(self, step: Step) -> None:
        """The next transaction is aborted in this step."""
        self.weak = step, False, Aborted

    def strike(self, step: Step, *, done: bool) -> None:
        if not done:
            self.trace.append(step)
        if self.weak is not None and self.weak[:2] == (step, done):
            why, self.weak = self.weak[2], None
            self.failures += 1
            raise why(f"at {step}, {'done' if done else 'not done'}")


class FragileTransactional(MemoryTransactional):
    def __init__(self, broker: FragileBroker) -> None:
        super().__init__(broker)
        self._fragile = broker

    def begin(self) -> None:
        self._at("begin", super().begin)

    def send(self, messages: Iterable[Message]) -> None:
        self._at("send", lambda: MemoryTransactional.send(self, messages))

    def send_offsets(self, consumer: Consumer, offsets: Mapping[TopicPartition, Position]) -> None:
        self._at("offsets", lambda: MemoryTransactional.send_offsets(self, consumer, offsets))

    def commit(self) -> None:
        self._at("commit", super().commit)

    def _at(self, step: Step, act: Callable[[], None]) -> None:
        self._fragile.strike(step, done=False)
        act()
        self._fragile.strike(step, done=True)
