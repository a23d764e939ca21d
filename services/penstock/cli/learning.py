"""Categories learned once, from the first rows, before a pipeline is applied."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from penstock.cli.exits import Exit, Failure
from penstock.cli.registries import registries_here
from penstock.kernel.kinds import Category
from penstock.kernel.mistakes import show
from penstock.kernel.paths import dig
from penstock.kernel.patterns import strangers
from penstock.kernel.pii import no_key, pseudonym, treatment_of
from penstock.kernel.validity import rules_of
from penstock.runtime.broker import TopicPartition
from penstock.runtime.errors import NotYet
from penstock.runtime.fold import read_range
from penstock.runtime.secret import read_key
from penstock.runtime.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from penstock.kernel.pipeline import Pipeline
    from penstock.runtime.broker import Broker

FIRST_ROWS: Final = 10_000
# More of them are an id rather than a category.
MOST_CATEGORIES: Final = 1000


def learn(
    pipeline: Pipeline, rows: Iterable[Mapping[str, object]], source: str, *, key: bytes | None = None
) -> dict[str, list[str]]:
    """The categories of each feature that has none yet, in alphabetical order.

    What is personal data is learned as the hashes that will be written; what its pattern does not let
    through is not learned.

    Args:
        pipeline: whose `unlearned` features are looked at.
        rows: events; only the first ten thousand are read.
        source: where they come from, for messages.
        key: of the hashes, where the pipeline asks for some.

    Raises:
        Failure: a feature has no value, one that is no text, or too many; or there is no key.
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
                shown = type(value).__name__ if treatment_of(pipeline.pii, fields[name]) else show(value)
                message = f"feature {name!r} is {shown} in {source}, expected text"
                raise Failure(message, Exit.INVALID)
    found = {name: _written(pipeline, name, words, key) for name, words in found.items()}
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
    wire = Wire(pipeline.events.format, _fields(pipeline).values(), registries_here())
    try:
        for batch in read_range(broker, ranges):
            # What is refused will be a dead letter, with its reason, once the pipeline runs.
            yield from wire.read(batch).rows()
    except NotYet as away:
        raise Failure(str(away), Exit.UNREACHABLE) from away


def key_of(pipeline: Pipeline, environment: Mapping[str, str] = os.environ) -> bytes | None:
    """The key that ingest will hash with, where the categories that are still to be learned are hashed.

    Raises:
        WrongSetting: its file cannot be read.
        Failure: none is named.
    """
    if not any(treatment_of(pipeline.pii, field) == "hash" for field in _fields(pipeline).values()):
        return None
    named = environment.get("PENSTOCK_PII_KEY_FILE")
    if not named:
        raise Failure(no_key(pipeline.name), Exit.INVALID)
    return read_key(Path(named), variable="PENSTOCK_PII_KEY_FILE")


def _written(pipeline: Pipeline, name: str, words: set[str], key: bytes | None) -> set[str]:
    """The words of a feature as its dictionary holds them."""
    [feature] = [each for each in pipeline.features if each.name == name]
    if treatment_of(pipeline.pii, feature.field) == "hash":
        if key is None:
            raise Failure(no_key(pipeline.name), Exit.INVALID)
        return {pseudonym(key, word) for word in words}
    pattern = feature.kind.pattern if isinstance(feature.kind, Category) else None
    if pattern is None or rules_of(feature.kind)["pattern"] == "flag":
        return words
    return words - strangers(pattern, words)


def _fields(pipeline: Pipeline) -> dict[str, str]:
    """Where each feature that has no categories yet is read from."""
    return {each.name: each.field for each in pipeline.features if each.name in pipeline.unlearned}
