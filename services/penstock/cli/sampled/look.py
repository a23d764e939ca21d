"""A look at the topics that a pipeline names: what would be accepted of their last records, what refused."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from penstock.cli.cluster import full_name
from penstock.cli.registries import registries_here
from penstock.cli.sampled.judged import judge_events, judge_labels, learned_here, meet
from penstock.cli.sampled.reading import read_columns, read_sample
from penstock.cli.sampled.telling import (
    events_text,
    labels_text,
    met_text,
    share,
    told,
    told_columns,
    told_met,
)
from penstock.ingest.domain.intake import event_paths, label_paths
from penstock.runtime.secret import read_key
from penstock.runtime.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.cli.sampled.judged import Judged
    from penstock.kernel.pipeline import Pipeline
    from penstock.runtime.broker import Broker

_ANY_KEY: Final = b"of a sample, and of nothing else"
"""Nothing is written, so any key does unless the file lists the hashes that are a feature's categories."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What was found.

    Args:
        lines: for people.
        told: for programs.
        hopeless: why ingest would stop at once; empty where it would not.
    """

    lines: Sequence[str]
    told: dict[str, Any]
    hopeless: Sequence[str]


def look(pipeline: Pipeline, broker: Broker, *, rows: int, seconds: float) -> Sampled:
    """Read the last records of both topics and judge them.

    Args:
        pipeline: valid, its schemas inline.
        broker: where the topics are.
        rows: at most so many of each partition.
        seconds: at most so long for each topic.

    Raises:
        Failure: there is no such topic (4).
    """
    there = broker.topics()
    for topic in (pipeline.events.topic, pipeline.labels.topic):
        full_name(topic, "", there)
    registries = registries_here()
    named = os.environ.get("PENSTOCK_PII_KEY_FILE")
    key = read_key(Path(named) if named else None, variable="PENSTOCK_PII_KEY_FILE") or _ANY_KEY

    sample = read_sample(broker, pipeline.events.topic, rows=rows, seconds=seconds)
    wire = Wire(pipeline.events.format, event_paths(pipeline), registries)
    columns = read_columns(wire, sample.records, seconds=seconds)
    complete, learned = learned_here(pipeline, columns, key)
    events = judge_events(complete, sample.records, columns, key)

    second = read_sample(broker, pipeline.labels.topic, rows=rows, seconds=seconds)
    wire = Wire(pipeline.labels.format, label_paths(pipeline), registries)
    columns = read_columns(wire, second.records, seconds=seconds)
    labels = judge_labels(pipeline, second.records, columns, key)
    met = meet(events, labels, pipeline.labels.horizon)

    lines = ["", *events_text(sample, events)]
    lines += [f"  {name}: {count:,} categories in the sample" for name, count in learned.items()]
    lines += ["", *labels_text(second, labels, pipeline)]
    lines += ["", *found] if (found := met_text(met, pipeline.labels.horizon)) else []
    return Sampled(
        lines=lines,
        told={
            "events": {**told(events, sample), "features": told_columns(events.columns), "learned": learned},
            "labels": told(labels, second),
            "met": told_met(met),
        },
        hopeless=[*_hopeless("events", events), *_hopeless("labels", labels)],
    )


def _hopeless(what: str, judged: Judged) -> list[str]:
    if not judged.hopeless:
        return []
    refused = judged.seen - judged.taken
    return [f"{share(refused, judged.seen)} of the {what} would be refused: ingest would stop at them"]
