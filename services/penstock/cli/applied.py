"""The pipelines in force, read and nothing written: what a verb needs that only looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.kernel.errors import Invalid
from penstock.runtime.broker import TopicPartition
from penstock.runtime.catalog import read_applied
from penstock.runtime.codec import Codec, UnknownSchema
from penstock.runtime.fold import read_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock.kernel.pipeline import Pipeline
    from penstock.runtime.broker import Broker, Record
    from penstock.runtime.catalog import Names


def applied(broker: Broker, names: Names) -> list[Pipeline]:
    """The pipelines in force, by name; none where nothing was ever applied.

    What this build cannot read is left out: the services' logs say why.

    Raises:
        Unavailable: the broker went away.
    """
    codec = Codec()
    for record in whole(broker, names.of("schemas")):
        try:
            codec.learn(record.value or b"")
        except Invalid:
            continue
    pipelines: dict[bytes | None, Pipeline] = {}
    for record in whole(broker, names.of("pipelines")):
        if record.value is None:
            pipelines.pop(record.key, None)
            continue
        try:
            pipelines[record.key] = read_applied(codec, record)
        except (Invalid, UnknownSchema):
            continue
    return sorted(pipelines.values(), key=lambda pipeline: pipeline.name)


def whole(broker: Broker, topic: str) -> Iterator[Record]:
    """Every record of a topic, each partition in its order; none where there is no topic."""
    count = broker.topics().get(topic, 0)
    for batch in read_range(broker, broker.ends(TopicPartition(topic, number) for number in range(count))):
        yield from batch
