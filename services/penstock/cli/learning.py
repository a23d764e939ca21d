"""Categories learned once, from the first rows, before a pipeline is applied."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from penstock.cli.exits import Exit, Failure
from penstock.kernel.mistakes import show
from penstock.kernel.paths import dig
from penstock.runtime.broker import TopicPartition
from penstock.runtime.fold import read_range
from penstock.runtime.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from penstock.kernel.pipeline import Pipeline
    from penstock.runtime.broker import Broker

FIRST_ROWS: Final = 10_000
# More of them are an id rather than a category.
MOST_CATEGORIES: Final = 1000


def learn(pipeline: Pipeline, rows: Iterable[Mapping[str, object]], source: str) -> dict[str, list[str]]:
    """The categories of each feature that has none yet, in alphabetical order.

    Args:
        pipeline: whose `unlearned` features are looked at.
        rows: events; only the first ten thousand are read.
        source: where they come from, for messages.

    Raises:
        Failure: a feature has no value, one that is no text, or too many.
    """
    found: dict[str, set[str]] = {name: set() for name in pipeline.unlearned}
    fields = _fields(pipeline)
    count = 0
    for row in islice(rows, FIRST_ROWS):
        count += 1
        for name, words in found.items():
            value = dig(row, fields[name])
            if isinstance(value, str):
                words.add(value)
            elif value is not None:
                message = f"feature {name!r} is {show(value)} in {source}, expected text"
                raise Failure(message, Exit.INVALID)
    for name, words in found.items():
        if not words:
            message = f"the categories of {name!r} cannot be learned: none in the {count:,} rows of {source}"
            raise Failure(f"{message}; send events first, or give --history FILE", Exit.INVALID)
        if len(words) > MOST_CATEGORIES:
            message = f"feature {name!r} has {len(words):,} categories in {source}"
            raise Failure(f"{message}, at most {MOST_CATEGORIES:,} are learned: is it an id?", Exit.INVALID)
    return {name: sorted(words) for name, words in found.items()}


def first_rows(pipeline: Pipeline, broker: Broker) -> Iterator[Mapping[str, object]]:
    """The first events on the pipeline's topic, equally many of each partition; what is none is skipped."""
    topic = pipeline.events.topic
    partitions = [TopicPartition(topic, number) for number in range(broker.topics().get(topic, 0))]
    each = -(-FIRST_ROWS // max(len(partitions), 1))
    ranges = {
        where: (start, min(end, start + each)) for where, (start, end) in broker.ends(partitions).items()
    }
    wire = Wire(pipeline.events.format, _fields(pipeline).values())
    for batch in read_range(broker, ranges):
        # What is refused will be a dead letter, with its reason, once the pipeline runs.
        yield from wire.read(batch).rows()


def _fields(pipeline: Pipeline) -> dict[str, str]:
    """Where each feature that has no categories yet is read from."""
    return {each.name: each.field for each in pipeline.features if each.name in pipeline.unlearned}
