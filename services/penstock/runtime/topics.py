"""The topics of schemas/topics.yaml as Kafka is to make them."""

from __future__ import annotations

from typing import Final

from penstock.contracts.topics import PARTITIONS, TOPICS
from penstock.contracts.topics import Topic as Line
from penstock.runtime.broker import Topic

DAY: Final = 86_400_000
OUTAGE: Final = 7 * DAY
"""How long every service may be down before a record it needs is gone; milliseconds."""


def topics(prefix: str, *, pipeline: str | None = None, horizon: int = 0) -> list[Topic]:
    """The global topics, or those of one pipeline.

    Args:
        prefix: what all names begin with.
        pipeline: its name; without one, the topics that every cluster has once.
        horizon: how late a label of the pipeline may come, milliseconds.

    >>> [topic.name for topic in topics("penstock.", pipeline="churn", horizon=0)][:2]
    ['penstock.churn.features', 'penstock.churn.predictions']
    """
    return [
        Topic(
            name=prefix + (line.name if pipeline is None else line.name.format(pipeline=pipeline)),
            partitions=PARTITIONS[line.partitions],
            config=_config(line, horizon),
        )
        for line in TOPICS
        if ("{pipeline}" in line.name) == (pipeline is not None)
    ]


def _least_retention(line: Line, horizon: int) -> int | None:
    """Milliseconds that records of a topic have to live, None for ever."""
    return {"forever": None, "replay": OUTAGE, "horizon": horizon + OUTAGE}[line.retention]


def _config(line: Line, horizon: int) -> dict[str, str]:
    # Event times of replayed history would make retention delete fresh records at once.
    config = {"message.timestamp.type": "LogAppendTime"}
    if line.cleanup == "compact":
        # The active segment is never compacted: without an hour's limit small topics grow for ever.
        return config | {"cleanup.policy": "compact", "segment.ms": "3600000", "max.message.bytes": "1100000"}
    retention = _least_retention(line, horizon)
    return config | {"cleanup.policy": "delete", "retention.ms": str(-1 if retention is None else retention)}
