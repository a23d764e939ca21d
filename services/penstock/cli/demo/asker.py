"""A client of the demo: asks the model over gRPC about the flights of the moment, all the while."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from penstock.cli.demo.pace import Stopped
from penstock.client import ONCE, Client, PenstockError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from penstock.cli.demo.flights import Flight

PER_SECOND = 10.0
AGAIN_SECONDS = 0.2
"""Before an id is asked once more whose answer did not come."""
RETRIED = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "NOT_FOUND"})
"""What a process makes of a call that is killed, busy, starting, or has not heard of the pipeline yet."""


class Asker:
    """Asks under ids of its own, which never get a label, and asks each until it is answered.

    Args:
        address: of inference.
        pipeline: whose model.
        current: the flight whose prediction is due now in the replay.
    """

    def __init__(self, address: str, pipeline: str, current: Callable[[], Flight]) -> None:
        self._address = address
        self._pipeline = pipeline
        self._current = current
        self._stop = threading.Event()
        self._abandoned = threading.Event()
        self._client = self._connect()
        self._asked: dict[str, Flight] = {}
        self.answered = 0
        """Distinct ids that have an answer."""
        self.asked_again = 0
        self.first_answer = threading.Event()
        """There is a version to answer."""
        self.finished = threading.Event()
        """Every question asked until it was stopped has its answer."""

    @property
    def asked(self) -> int:
        """Distinct ids asked."""
        return len(self._asked)

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(self._asked)

    def stop(self) -> None:
        """Ask no more; the question under way still gets its answer."""
        self._stop.set()

    def abandon(self) -> None:
        """Wait for no answer any more."""
        self._abandoned.set()
        self._stop.set()

    def run(self) -> None:
        """Ask until told to stop.

        Raises:
            PenstockError: inference refuses what it should answer.
            Stopped: abandoned while it waited for an answer.
        """
        try:
            while not self._stop.is_set():
                name = f"grpc-{len(self._asked)}"
                self._asked[name] = self._current()
                self._answer(name)
                self.answered += 1
                self.first_answer.set()
                self._stop.wait(1 / PER_SECOND)
            self.finished.set()
        finally:
            self._client.close()

    def ask_again(self, names: Iterable[str]) -> None:
        """Ask these once more: their answers came from a process that died before it had logged them."""
        self._client = self._connect()
        try:
            for name in names:
                self._answer(name)
                self.asked_again += 1
        finally:
            self._client.close()

    def _answer(self, name: str) -> None:
        flight = self._asked[name]
        features = {field: value for field, value in flight.event.items() if field not in {"id", "t"}}
        while True:
            try:
                self._client.predict(features, id=name, event_time=flight.due)
            except PenstockError as error:
                if error.code not in RETRIED:
                    raise
                if self._abandoned.wait(AGAIN_SECONDS):
                    raise Stopped from error
            else:
                return

    def _connect(self) -> Client:
        # It asks again by itself, for as long as it takes, unless it is told to stop.
        return Client(self._address, pipeline=self._pipeline, retry=ONCE)
