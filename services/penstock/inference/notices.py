"""Records that are to be written some time, one after the other, until each of them is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from penstock.runtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.runtime.broker import Broker, Message, Producer

FLUSH_SECONDS: Final = 3.0
"""How long a stop waits for what is still in a buffer."""


class _Notice(NamedTuple):
    message: Message
    written: Callable[[], None]


class Notices:
    """For the few records that say how this process is: what it has loaded, what it could not log.

    One is under way at a time, so it is known which one failed; it is then sent again. A broker that is away
    is waited out. Not for records in numbers.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._producer: Producer | None = None
        self._pending: dict[str, _Notice] = {}
        self._sent: tuple[str, _Notice, int] | None = None

    def put(self, key: str, message: Message, written: Callable[[], None] = lambda: None) -> None:
        """Write this instead of what waits under the same key; `written` is called when it is in the log."""
        self._pending[key] = _Notice(message, written)

    def holds(self, key: str) -> bool:
        """Whether something waits under this key, or is under way."""
        return key in self._pending

    def tick(self) -> None:
        """See what became of the last one, and send the next."""
        try:
            self._producer = self._producer or self._broker.producer()
            self._conclude(self._producer)
            if self._sent is None and self._pending:
                key, notice = next(iter(self._pending.items()))
                failed = self._producer.failed()
                if self._producer.send(notice.message):
                    self._sent = key, notice, failed
        except Unavailable:
            # It must not be used again; what it held is still pending here.
            self._producer, self._sent = None, None

    def close(self) -> None:
        """Give what is pending one more chance, for a few seconds."""
        for _ in range(len(self._pending) + 1):
            self.tick()
            if self._producer is None or self._producer.flush(FLUSH_SECONDS):
                break
        if self._producer is not None:
            self._conclude(self._producer)
            # Closing waits for what is not written, and that was waited for already.
            if not self._producer.waiting():
                self._producer.close()

    def _conclude(self, producer: Producer) -> None:
        if self._sent is None or producer.waiting():
            return
        key, notice, failed = self._sent
        self._sent = None
        if producer.failed() == failed:
            if self._pending.get(key) is notice:
                del self._pending[key]
            notice.written()
