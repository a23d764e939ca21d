"""What the registry has said: the routing table of each pipeline and the versions it may name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.contracts.records import ModelRegistered, RouteChanged
from penstock.kernel.errors import Invalid
from penstock.runtime import logs
from penstock.runtime.codec import UnknownSchema
from penstock.runtime.fold import Fold

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock.runtime.broker import Broker, Record
    from penstock.runtime.catalog import Catalog


class Tables:
    """The fold of `models` and `routes`. Building it reads both to their ends.

    Raises:
        Unavailable: no broker answers, or its topics are not there yet.
    """

    def __init__(self, broker: Broker, catalog: Catalog) -> None:
        self.routes: dict[str, RouteChanged] = {}
        """By pipeline."""
        self.models: dict[tuple[str, int], ModelRegistered] = {}
        """By pipeline and version."""
        self._catalog = catalog
        self._log = logs.get()
        names = catalog.names
        self._waiting: list[Record] = []
        self._fold = Fold(broker, [names.of("models"), names.of("routes")])
        self._take(self._fold.catch_up())

    def refresh(self) -> bool:
        """Take in what is new; whether there was anything."""
        return self._take(self._fold.poll())

    def close(self) -> None:
        self._fold.close()

    def _take(self, records: Iterable[Record]) -> bool:
        # Records whose schema had not come before them are tried again with the next ones, in their order.
        due, self._waiting = [*self._waiting, *records], []
        for record in due:
            if record.value is None:
                self._forget(record.key or b"")
                continue
            try:
                self._keep(self._catalog.codec.decode(record.value).value)
            except UnknownSchema:
                self._waiting.append(record)
            except Invalid as why:
                # Only the registry writes here: this is our own mistake, and no dead letter.
                at = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
                self._log.error("registry_record_refused", **at, why=str(why))
        return len(due) > len(self._waiting)

    def _keep(self, event: object) -> None:
        match event:
            case RouteChanged(pipeline=name, epoch=epoch):
                # Routes of one pipeline are in order on one partition; the epoch guards against a repeat.
                if name not in self.routes or epoch > self.routes[name].epoch:
                    self.routes[name] = event
            case ModelRegistered(pipeline=name, version=version):
                self.models[name, version] = event

    def _forget(self, key: bytes) -> None:
        """A tombstone: of a route its key is the pipeline, of a model the pipeline and the version."""
        name, _, version = key.decode("utf-8", "replace").partition("/")
        if not version:
            self.routes.pop(name, None)
        elif version.isdecimal():
            self.models.pop((name, int(version)), None)
