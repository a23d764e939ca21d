"""The versions of every pipeline, as the registry's topics tell them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from penstock.contracts.records import ModelRegistered, RouteChanged, VersionRegistered
from penstock.kernel.errors import Invalid
from penstock.runtime.broker import TopicPartition
from penstock.runtime.catalog import Names
from penstock.runtime.codec import Codec, UnknownSchema
from penstock.runtime.fold import read_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock.contracts.records import Manifest
    from penstock.runtime.broker import Broker, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of one pipeline's model."""

    pipeline: str
    version: int
    stage: str
    """champion, canary, shadow, archived or refused."""
    registered: datetime
    manifest: Manifest | None
    """None where it was refused."""
    reason: str
    """Why it was refused."""


def versions(broker: Broker, prefix: str) -> list[Version]:
    """All versions, by pipeline and number."""
    names = Names(prefix)
    known = broker.topics()
    manifests: dict[tuple[str, int], Manifest] = {}
    registered: dict[tuple[str, int], tuple[VersionRegistered, int]] = {}
    routes: dict[str, RouteChanged] = {}
    for topic in ("models", "lifecycle", "routes"):
        for record, event in _events(broker, names.of(topic), known.get(names.of(topic), 0)):
            match event:
                case ModelRegistered():
                    manifests[event.pipeline, event.version] = event.manifest
                case VersionRegistered():
                    registered[event.pipeline, event.version] = event, record.timestamp
                case RouteChanged():
                    routes[event.pipeline] = event
                case _:
                    pass
    return [
        Version(
            pipeline=key[0],
            version=key[1],
            stage=_stage(event, routes.get(key[0])),
            registered=datetime.fromtimestamp(stamp / 1000, UTC),
            manifest=manifests.get(key),
            reason=event.reason,
        )
        for key, (event, stamp) in sorted(registered.items())
    ]


def _stage(event: VersionRegistered, route: RouteChanged | None) -> str:
    """The route in force says more than the stage a version was registered with."""
    if route and event.version == route.champion:
        return "champion"
    if route and event.version == route.canary:
        return "canary"
    if route and event.version in route.shadows:
        return "shadow"
    return event.stage.lower()


def _events(broker: Broker, topic: str, partitions: int) -> Iterator[tuple[Record, object]]:
    codec = Codec()
    ends = broker.ends(TopicPartition(topic, number) for number in range(partitions))
    for batch in read_range(broker, ends):
        for record in batch:
            if record.value is not None:
                try:
                    yield record, codec.decode(record.value).value
                except (Invalid, UnknownSchema):  # of a later build: `penstock tail` shows it
                    continue
