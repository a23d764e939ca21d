"""What most tasks have in common: they follow the catalog, keep no state, and hold nothing back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from penstock.runtime.broker import Position, TopicPartition
from penstock.runtime.catalog import Catalog


class CatalogTask:
    """A task over pipelines; a subclass says what it consumes and what it makes of it."""

    gather = 0.0
    limit = 2000  # with more than 500 records a commit, exactly once costs about 15%

    def __init__(self, catalog: Catalog, *, service: str) -> None:
        self.catalog = catalog
        self.codec = catalog.codec
        self.names = catalog.names
        self._service = service

    def refresh(self) -> bool:
        return self.catalog.refresh()

    def restore(self, positions: Mapping[TopicPartition, Position]) -> Iterator[None]:  # noqa: ARG002 - no state
        yield from ()

    def held(self) -> frozenset[TopicPartition]:
        return frozenset()

    def due(self) -> bool:
        return False

    def committed(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Most tasks keep nothing outside the log."""

    def close(self) -> None:
        """Most tasks hold nothing of their own."""

    def dead_letters(self, topic: str) -> str:
        """Of the pipeline a topic belongs to."""
        return self.names.dead_letters(self._service, self.names.pipeline(topic))

    def pipeline_topics(self, *topics: str) -> list[str]:
        """These topics of every pipeline, in a stable order."""
        return [
            self.names.of(topic, pipeline) for pipeline in sorted(self.catalog.pipelines) for topic in topics
        ]
