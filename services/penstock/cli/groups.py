"""The consumer groups, and what each reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from penstock.kernel.pipeline import Pipeline
    from penstock.runtime.catalog import Names


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One consumer group."""

    service: str
    name: str
    """With the prefix, as Kafka has it."""
    topics: tuple[str, ...]


def pipeline_groups(names: Names, pipeline: Pipeline) -> Sequence[Group]:
    """The groups that carry a pipeline's rows, in the order of the data.

    What one of them has read to the end it has also written out, so the next one's input is then complete.
    """

    def group(service: str, name: str, *topics: str) -> Group:
        return Group(service=service, name=names.of(name), topics=topics)

    def own(topic: str) -> str:
        return names.of(topic, pipeline.name)

    return (
        group("ingest", "intake", pipeline.events.topic, pipeline.labels.topic),
        group("inference", "inference", own("features")),
        group("ingest", "join", own("predictions"), own("labels")),
        group("ingest", "summarise", own("predictions"), own("outcomes"), own("quality")),
    )


def control_groups(names: Names) -> Sequence[Group]:
    """The groups that watch, decide, make and number models."""
    reads = {
        "monitor": ("summaries",),
        "governor": ("pipelines", "lifecycle", "jobs", "evidence", "commands"),
        "trainer": ("decisions",),
        "registry": ("candidates", "decisions"),
    }
    return [
        Group(service=name, name=names.of(name), topics=tuple(map(names.of, topics)))
        for name, topics in reads.items()
    ]


def groups(names: Names, pipelines: Iterable[Pipeline]) -> list[Group]:
    """All of them."""
    return [
        *(group for pipeline in pipelines for group in pipeline_groups(names, pipeline)),
        *control_groups(names),
    ]
