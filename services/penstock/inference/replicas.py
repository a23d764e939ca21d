"""What this replica serves, on the `replicas` topic, whenever that changes; nothing, once it has ended.

One that is killed leaves its last report. Whoever starts in its slot writes over it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.contracts.records import Refusal, ReplicaReported
from penstock.inference.domain import Serving
from penstock.kernel.hashing import partition_of
from penstock.runtime.broker import Message
from penstock.runtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock.inference.loader import Shelf
    from penstock.inference.notices import Notices
    from penstock.runtime.broker import Broker
    from penstock.runtime.catalog import Names
    from penstock.runtime.codec import Codec


class Replicas:
    """Reports what is loaded here, by pipeline."""

    def __init__(
        self, broker: Broker, topics: Names, codec: Codec, notices: Notices, shelf: Shelf, *, slot: str
    ) -> None:
        self._broker = broker
        self._topic = topics.of("replicas")
        self._codec = codec
        self._notices = notices
        self._shelf = shelf
        self._slot = slot
        self._said: dict[str, ReplicaReported] = {}

    def tick(self) -> None:
        """Report what has changed since the last report."""
        now = self._now()
        changed: dict[str, ReplicaReported | None] = {
            name: said for name, said in now.items() if self._said.get(name) != said
        }
        changed |= dict.fromkeys(self._said.keys() - now.keys())
        if changed:
            self._say(changed)

    def leave(self) -> None:
        """Take back what was reported: nothing is served here any more."""
        if self._said:
            self._say(dict.fromkeys(self._said))

    def _say(self, changed: Mapping[str, ReplicaReported | None]) -> None:
        try:
            partitions = self._broker.topics().get(self._topic)
        except Unavailable:
            return
        if partitions is None:
            return
        for name, report in changed.items():
            key = f"{self._slot}/{name}"
            partition = partition_of(name.encode(), partitions)
            value = None if report is None else self._codec.encode(report)
            message = Message(self._topic, value, key.encode(), (), partition)
            self._notices.put(f"replica/{name}", message)
            if report is None:
                del self._said[name]
            else:
                self._said[name] = report

    def _now(self) -> dict[str, ReplicaReported]:
        found = {}
        for name, state in self._shelf.directory.items():
            serving = state if isinstance(state, Serving) else None
            refused = self._shelf.refused(name)
            found[name] = ReplicaReported(
                pipeline=name,
                slot=self._slot,
                epoch=serving.route.epoch if serving else 0,
                loaded=tuple(sorted(serving.models)) if serving else (),
                refused=tuple(Refusal(version=each, reason=why) for each, why in sorted(refused.items())),
            )
        return found
