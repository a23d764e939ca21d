"""Make a pipeline file what is running: show what changes, create what is missing, then write it.

What the services read is written last, and only if every rule allows the change: rows that are in the log
keep their meaning, so features and categories grow at the end, and name, task and label stay what they are.
"""

from __future__ import annotations

import pathlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from penstock.cli.address import add_broker
from penstock.cli.cells import of_events
from penstock.cli.check import summary
from penstock.cli.cluster import connected, settings_of
from penstock.cli.exits import Exit, Failure
from penstock.cli.learning import first_rows, key_of, learn
from penstock.cli.output import as_json
from penstock.cli.recordfile import read
from penstock.cli.specfile import load
from penstock.contracts.topics import PARTITIONS
from penstock.kernel.changes import differences, refusals
from penstock.kernel.kinds import Category
from penstock.kernel.units import show_duration
from penstock.runtime.broker import Topic
from penstock.runtime.catalog import Catalog, Names, apply_messages
from penstock.runtime.topics import topics

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from penstock.kernel.pipeline import Pipeline
    from penstock.runtime.broker import Broker, Message

FLUSH_SECONDS: Final = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", type=pathlib.Path, metavar="SPEC", help="the pipeline file")
    parser.add_argument(
        "--history",
        type=pathlib.Path,
        metavar="FILE",
        help="learn from_first_rows from these events (.avro, .jsonl, .csv) instead of from the topic",
    )
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    pipeline = load(args.spec)
    settings = settings_of(args)
    with connected(settings) as broker:
        applied = apply(pipeline, broker, Names(settings.prefix), history=args.history)
    print(as_json(applied.told(), indent=True) if args.output == "json" else applied.text())
    return Exit.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What was done.

    Args:
        pipeline: in force now.
        before: in force until now, None for a new pipeline.
        learned: how many categories, by feature.
        created: names of topics.
    """

    pipeline: Pipeline
    before: Pipeline | None
    learned: Mapping[str, int]
    created: Sequence[str]

    @property
    def changes(self) -> list[str]:
        return [] if self.before is None else differences(self.before, self.pipeline)

    def told(self) -> dict[str, object]:
        """For programs."""
        return {
            "pipeline": self.pipeline.name,
            "digest": self.pipeline.digest,
            "new": self.before is None,
            "changed": self.pipeline != self.before,
            "differences": self.changes,
            "learned": self.learned,
            "created": self.created,
        }

    def text(self) -> str:
        """For people."""
        name, digest = self.pipeline.name, self.pipeline.digest[:12]
        lines = [f"learned {count} categories of {feature}" for feature, count in self.learned.items()]
        lines += [f"created topic {topic}" for topic in self.created]
        if self.before is None:
            return "\n".join([*summary(self.pipeline), *lines, f"{name} is applied ({digest})."])
        if self.pipeline == self.before:
            return "\n".join([*lines, f"{name} was applied before ({digest}): nothing to change."])
        return "\n".join([*self.changes, *lines, f"{name} is changed ({digest})."])


def apply(
    pipeline: Pipeline, broker: Broker, names: Names, *, history: pathlib.Path | None = None
) -> Applied:
    """Apply a pipeline.

    Args:
        pipeline: with its Avro schemas inline.
        broker: where.
        names: of its topics.
        history: events to learn categories from; otherwise the events' topic.

    Raises:
        Failure: categories cannot be learned (3), the change is not allowed (5), the broker went away (6).
    """
    created = broker.create(topics(names.prefix))
    catalog = Catalog(broker, names)
    catalog.close()
    before = catalog.pipelines.get(pipeline.name)
    pipeline, learned = complete(pipeline, before, broker, history)
    if before is not None and (refused := refusals(before, pipeline)):
        raise Failure("\n".join(f"{pipeline.name}: {each}" for each in refused), Exit.CONFLICT)
    wanted = topics(names.prefix, pipeline=pipeline.name, horizon=pipeline.labels.horizon)
    refuse_misfits(broker, wanted)
    producers = (pipeline.events.topic, pipeline.labels.topic)
    raw = [Topic(name=topic, partitions=PARTITIONS["pipeline"]) for topic in producers]
    created += broker.create([*wanted, *raw])
    if pipeline != before:
        count = broker.topics()[names.of("pipelines")]
        now = time.time_ns() // 1_000_000
        *schemas, applied = apply_messages(names, pipeline, catalog.codec, partitions=count, now=now)
        write(broker, schemas)
        write(broker, [applied])  # what the services act on comes last
    return Applied(pipeline=pipeline, before=before, learned=learned, created=created)


def complete(
    pipeline: Pipeline, before: Pipeline | None, broker: Broker, history: pathlib.Path | None
) -> tuple[Pipeline, dict[str, int]]:
    """The pipeline with all its categories: those learned before stay, the others are learned now."""
    known = {
        feature.name: feature.kind.values
        for feature in (before.features if before else ())
        if isinstance(feature.kind, Category) and feature.kind.values is not None
    }
    pipeline = pipeline.frozen(known)
    if not pipeline.unlearned:
        return pipeline, {}
    rows = first_rows(pipeline, broker) if history is None else read(history, of_events(pipeline))
    learned = learn(pipeline, rows, str(history or pipeline.events.topic), key=key_of(pipeline))
    return pipeline.frozen(learned), {name: len(words) for name, words in learned.items()}


def refuse_misfits(broker: Broker, wanted: Sequence[Topic]) -> None:
    """Topics that exist must have the partitions and keep the records that the pipeline needs.

    Raises:
        Failure: one does not.
    """
    there = broker.topics()
    for topic in wanted:
        if topic.name not in there:
            continue
        if there[topic.name] != topic.partitions:
            message = f"{topic.name} has {there[topic.name]} partitions, and needs {topic.partitions}"
            raise Failure(f"{message}: ids would not meet their labels", Exit.CONFLICT)
        kept = int(broker.config(topic.name).get("retention.ms", -1))
        needed = int(topic.config.get("retention.ms", -1))
        if kept >= 0 and (needed < 0 or kept < needed):
            need = "for ever" if needed < 0 else f"for {show_duration(needed)}"
            message = f"{topic.name} keeps records for {show_duration(kept)}, and has to keep them {need}"
            raise Failure(f"{message}: set its retention.ms to {needed} first", Exit.CONFLICT)


def write(broker: Broker, messages: Sequence[Message]) -> None:
    """Write, and wait until it is written.

    Raises:
        Failure: it could not be.
    """
    producer = broker.producer()
    try:
        taken = [producer.send(message) for message in messages]
        if not all(taken) or producer.flush(FLUSH_SECONDS) or producer.failed():
            raise Failure("the broker did not take the pipeline; apply it again", Exit.UNREACHABLE)
    finally:
        producer.close()
