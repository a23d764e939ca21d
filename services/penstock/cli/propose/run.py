"""From two topics to a proposal: reading, and a second look where labels and events hardly meet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock.cli.cluster import full_name
from penstock.cli.propose.fields import look_at
from penstock.cli.propose.proposal import Proposal, make
from penstock.cli.propose.sources import Schemas, plain, read_source
from penstock.cli.registries import registries_here
from penstock.cli.sampled.reading import read_columns, read_sample
from penstock.runtime.wire import Wire

if TYPE_CHECKING:
    from penstock.runtime.broker import Broker

_ENOUGH: Final = 100
"""Labels with their event that say how late labels come."""
_MORE: Final = 10
"""Times as many events, of which only id and time are read, where fewer than that met."""


def from_topics(
    broker: Broker,
    events: str,
    labels: str,
    *,
    schemas: Schemas,
    rows: int,
    seconds: float,
    name: str | None,
) -> Proposal:
    """Read the last records of both topics, and propose a pipeline.

    Labels come long after their events, so that the last of the ones may not be about the last of the
    others. Where few meet, ids and times of many more events are read, from all over the topic: then a label
    finds its event with the same chance however late it came.

    Raises:
        Failure: a topic is not there (4), or nothing can be proposed from what it holds.
    """
    there = broker.topics()
    topics = [full_name(topic, "", there) for topic in (events, labels)]
    samples = [read_sample(broker, topic, rows=rows, seconds=seconds) for topic in topics]
    found = make(*(read_source(each, schemas, seconds=seconds) for each in samples), name=name)
    if len(found.delays.delays) >= _ENOUGH or samples[0].whole:
        return found
    spread = read_sample(broker, topics[0], rows=_MORE * rows, seconds=seconds, spread=True)
    paths = [found.id.events, found.event_times[0]]
    wire = Wire(found.events.form, paths, registries_here())
    columns = read_columns(wire, spread.records, seconds=seconds)
    stamps = [spread.records[place].timestamp for place in columns.places]
    more = {path: look_at(path, plain(columns, path), stamps) for path in paths}
    return found if more[paths[1]].times is None else found.met_with(more)
