"""Where decisions are written down: one after the other, each naming the one before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from penstock.contracts.records import Source
from penstock.governor.domain.routes import routed, shadows
from penstock.kernel.chain import derived_id, digest_of

if TYPE_CHECKING:
    from penstock.governor.domain.facts import Decision, Notice, Place, Routing
    from penstock.governor.domain.governed import Governed


class Desk:
    """Takes a pipeline through one fact.

    Args:
        governed: as it was before the fact.
        place: of the fact.
        event_time: that its decisions are given.
    """

    def __init__(self, governed: Governed, place: Place, event_time: int | None) -> None:
        self.governed = governed
        self.place = place
        self.event_time = event_time
        self.decisions: list[Decision] = []
        self._route = routed(governed.state)

    def notice(self, kind: type[Notice], reason: str, **fields: Any) -> None:
        """Write a decision that routes nothing."""
        self._write(kind(**self._head(kind.__name__), **fields, reason=reason))

    def request(
        self, kind: type[Any], *subject: object, causes: tuple[Source, ...] = (), **fields: Any
    ) -> Any:
        """Ask the trainer for something; the request as written."""
        return self._write(kind(**self._head(kind.__name__, *subject, causes=causes), **fields))

    def route(
        self,
        kind: type[Routing],
        version: int | None,
        reason: str,
        *,
        causes: tuple[Source, ...] = (),
        numbers: Mapping[str, float] | None = None,
    ) -> None:
        """Write a decision about a version, if any, with the route as it now follows from the state."""
        self.governed = self.governed.but(shadows=shadows(self.governed))
        route = routed(self.governed.state)
        if route != self._route:
            route = replace(route, epoch=route.epoch + 1)
            self.governed = self.governed.but(epoch=route.epoch)
            self._route = route
        fields: dict[str, Any] = {
            **self._head(kind.__name__, version, causes=causes),
            "version": version,
            "lane": self.governed.lane_of(version),
        }
        self._write(kind(**fields, route=route, numbers=dict(numbers or {}), reason=reason))

    def _head(self, *subject: object, causes: tuple[Source, ...] = ()) -> dict[str, Any]:
        state, place = self.governed.state, self.place
        source = place.source
        return {
            "id": derived_id(place.cluster, place.topic_id, source.partition, source.offset, *subject),
            "pipeline": state.pipeline,
            "time": place.timestamp,
            "event_time": self.event_time,
            "policy": state.policy,
            "previous": state.previous,
            "causes": tuple(dict.fromkeys((source, *causes))),
        }

    def _write(self, decision: Any) -> Any:
        state = self.governed.state
        self.governed = self.governed.but(decided=state.decided + 1, previous=digest_of(decision))
        self.decisions.append(decision)
        return decision
