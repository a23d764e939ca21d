"""The pipelines in force, read and nothing written: what a verb needs that only looks."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from penstock.cli.exits import Exit, Failure
from penstock.kernel.errors import Invalid
from penstock.runtime.broker import TopicPartition
from penstock.runtime.catalog import read_applied
from penstock.runtime.codec import Codec, UnknownSchema
from penstock.runtime.fold import read_range

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from penstock.kernel.pipeline import Pipeline
    from penstock.runtime.broker import Broker, Record
    from penstock.runtime.catalog import Names


def applied(broker: Broker, names: Names, codec: Codec | None = None) -> list[Pipeline]:
    """The pipelines in force, by name; none where nothing was ever applied.

    What this build cannot read is left out: the services' logs say why.

    Args:
        broker: where.
        names: of its topics.
        codec: that knows the schemas of the log; made where left out.

    Raises:
        Unavailable: the broker went away.
    """
    codec = codec or known_codec(broker, names)
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


def add_pipeline(parser: argparse.ArgumentParser) -> None:
    """The argument that names the pipeline, for a verb that is about one."""
    parser.add_argument(
        "pipeline", nargs="?", metavar="PIPELINE", help="may be left out where only one is applied"
    )


def chosen(pipelines: Sequence[Pipeline], given: str | None) -> Pipeline:
    """The pipeline that is meant: the one of that name, or the only one there is.

    Raises:
        Failure: there is none of that name (4), or none was named and there are several (2).
    """
    known = [pipeline.name for pipeline in pipelines]
    if given is None:
        if len(pipelines) == 1:
            return pipelines[0]
        if not pipelines:
            raise Failure("no pipeline is applied yet: penstock apply FILE", Exit.NOT_FOUND)
        raise Failure(f"which pipeline? There are {', '.join(known)}", Exit.USAGE)
    for pipeline in pipelines:
        if pipeline.name == given:
            return pipeline
    close = get_close_matches(given, known, n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    raise Failure(f"no pipeline '{given}' is applied{hint}", Exit.NOT_FOUND)


def known_codec(broker: Broker, names: Names) -> Codec:
    """A codec that knows all schemas of the log, those of later and earlier builds among them."""
    codec = Codec()
    for record in whole(broker, names.of("schemas")):
        try:
            codec.learn(record.value or b"")
        except Invalid:
            continue
    return codec


def whole(broker: Broker, topic: str) -> Iterator[Record]:
    """Every record of a topic, each partition in its order; none where there is no topic."""
    count = broker.topics().get(topic, 0)
    for batch in read_range(broker, broker.ends(TopicPartition(topic, number) for number in range(count))):
        yield from batch
