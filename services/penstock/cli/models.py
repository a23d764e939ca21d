"""The versions of every pipeline, as the registry's topics tell them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.cli.controllog import ControlLog
from penstock.contracts.records import (
    ModelRegistered,
    RouteChanged,
    VersionRegistered,
    VersionStage,
    VersionStaged,
)
from penstock.runtime.catalog import Names

if TYPE_CHECKING:
    from penstock.contracts.records import Manifest
    from penstock.runtime.broker import Broker


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of one pipeline's model."""

    pipeline: str
    version: int
    stage: str
    """champion, canary, split, shadow, archived or refused."""
    stamp: int
    """When it was registered: processing time, milliseconds."""
    registered: VersionRegistered
    manifest: Manifest | None
    """None where it was refused."""
    staged: VersionStaged | None
    """Its last change of stage; None where it has the one it was registered with."""


def versions(broker: Broker, prefix: str) -> list[Version]:
    """All versions, by pipeline and number."""
    return versions_in(ControlLog(broker, Names(prefix)))


def versions_in(log: ControlLog) -> list[Version]:
    """The versions that a log tells of, by pipeline and number."""
    log.read("models", "lifecycle", "routes")
    manifests = {
        (entry.event.pipeline, entry.event.version): entry.event.manifest
        for entry in log.of("models", ModelRegistered)
    }
    staged = {
        (entry.event.pipeline, entry.event.version): entry.event
        for entry in log.of("lifecycle", VersionStaged)
    }
    routes = {entry.event.pipeline: entry.event for entry in log.of("routes", RouteChanged)}
    found = []
    for entry in log.of("lifecycle", VersionRegistered):
        event = entry.event
        key = event.pipeline, event.version
        last = staged.get(key)
        found.append(
            Version(
                pipeline=event.pipeline,
                version=event.version,
                stage=_stage(last or event, routes.get(event.pipeline)),
                stamp=entry.stamp,
                registered=event,
                manifest=manifests.get(key),
                staged=last,
            )
        )
    return sorted(found, key=lambda version: (version.pipeline, version.version))


def _stage(event: VersionRegistered | VersionStaged, route: RouteChanged | None) -> str:
    """The route in force says more than what was read a moment before it."""
    if route and event.version == route.champion:
        return VersionStage.CHAMPION.lower()
    if route and event.version == route.canary:
        return VersionStage.CANARY.lower()
    if route and event.version == route.split:
        return VersionStage.SPLIT.lower()
    if route and event.version in route.shadows:
        return VersionStage.SHADOW.lower()
    return event.stage.lower()
