"""A pipeline proposed from two samples: what each field is, what becomes of it, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from penstock.cli.exits import Exit, Failure
from penstock.cli.propose.delays import Delays, delays_of, horizon_of
from penstock.cli.propose.features import LeftOut, Proposed, leaking, propose
from penstock.cli.propose.roles import IdPair, id_pairs, task_of, times, values
from penstock.kernel.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from penstock.cli.propose.fields import Field
    from penstock.cli.propose.sources import Source

_UNSEEN_HORIZON: Final = 30 * 86_400_000
_GENERIC: Final = frozenset({"events", "event", "raw", "topic", "stream", "data", "v1", "v2", "prod"})
_FEWEST: Final = 20
"""Labels that find their event below which a horizon is a guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A pipeline, and what it was made from.

    Args:
        name: of the pipeline.
        events: the events' sample, read.
        labels: the labels'.
        ids: candidates for the id, the chosen one first.
        event_times: candidates for the event's time, the chosen one first.
        label_times: candidates for the label's.
        values: candidates for what the label is made from.
        task: what it asks for.
        delays: how late labels came.
        horizon: how late they may, milliseconds.
        features: of the pipeline.
        left: fields of events that became none.
    """

    name: str
    events: Source
    labels: Source
    ids: Sequence[IdPair]
    event_times: Sequence[str]
    label_times: Sequence[str]
    values: Sequence[str]
    task: str
    delays: Delays
    horizon: int
    features: Sequence[Proposed]
    left: Sequence[LeftOut]

    @property
    def id(self) -> IdPair:
        return self.ids[0]

    @property
    def value(self) -> Field:
        return self.labels.fields[self.values[0]]

    @property
    def classes(self) -> list[str]:
        """Of task multiclass."""
        return sorted(map(str, self.value.counts)) if self.task == "multiclass" else []

    @property
    def guessed_horizon(self) -> bool:
        """Whether the sample says too little about how late labels come."""
        return len(self.delays.delays) < _FEWEST

    @property
    def personal(self) -> list[str]:
        """Fields whose values are addresses of mail: the one thing that is sure to be personal."""
        needed = {self.id.events, self.id.labels, self.values[0]}
        fields = [*self.events.fields.values(), *self.labels.fields.values()]
        return sorted({each.path for each in fields if each.mails and each.path not in needed})

    def met_with(self, more: Mapping[str, Field]) -> Proposal:
        """With delays of the same labels, and more events, by their id and time."""
        both = zip(
            _timed(self.events.fields, self.id.events, self.event_times[0]),
            _timed(more, self.id.events, self.event_times[0]),
            strict=True,
        )
        ids, known = ([*first, *second] for first, second in both)
        delays = delays_of(ids, known, *_timed(self.labels.fields, self.id.labels, self.label_times[0]))
        return replace(self, delays=delays, horizon=horizon_of(delays) or _UNSEEN_HORIZON)

    def raw(self) -> dict[str, Any]:
        """As the pipeline file has it."""
        head: dict[str, Any] = {"pipeline": self.name, "task": self.task}
        if self.classes:
            head["classes"] = self.classes
        return {
            **head,
            "events": {
                "topic": self.events.sample.topic,
                "format": self.events.raw,
                "id": self.id.events,
                "time": self.event_times[0],
            },
            "labels": {
                "topic": self.labels.sample.topic,
                "format": self.labels.raw,
                "id": self.id.labels,
                "time": self.label_times[0],
                "value": self.values[0],
                "horizon": show_duration(self.horizon),
            },
            "features": {each.name: each.kind for each in self.features},
            **({"pii": dict.fromkeys(self.personal, "drop")} if self.personal else {}),
        }


def make(events: Source, labels: Source, *, name: str | None = None) -> Proposal:
    """Propose.

    Args:
        events: the events' sample, read.
        labels: the labels'.
        name: of the pipeline; made from the topics where left out.

    Raises:
        Failure: no field can be the id, a time, or the label's value (1); the line says of which topic.
    """
    ids = id_pairs(events.fields, labels.fields, events.keyed())
    if not ids:
        what = f"no field names the same in {events.sample.topic} and {labels.sample.topic}"
        raise Failure(f"{what}: an id is unique there, and found here ({_seen(events, labels)})", Exit.FAILED)
    chosen = ids[0]
    event_times = times(events.fields, [chosen.events])
    label_times = times(labels.fields, [chosen.labels])
    for source, found in ((events, event_times), (labels, label_times)):
        if not found:
            raise _no_time(source)
    candidates = values(labels.fields, [chosen.labels, label_times[0]])
    if not candidates:
        raise Failure(f"no field of {labels.sample.topic} can be the label: {_listed(labels)}", Exit.FAILED)
    delays = delays_of(
        *_timed(events.fields, chosen.events, event_times[0]),
        *_timed(labels.fields, chosen.labels, label_times[0]),
    )
    features, left = propose(
        events.fields,
        event_time=event_times[0],
        but=[chosen.events],
        leaks=leaking(events.fields, _matched(events, labels, chosen, candidates[0])),
    )
    return Proposal(
        name=name or name_of(events.sample.topic, labels.sample.topic),
        events=events,
        labels=labels,
        ids=ids,
        event_times=event_times,
        label_times=label_times,
        values=candidates,
        task=task_of(labels.fields[candidates[0]]),
        delays=delays,
        horizon=horizon_of(delays) or _UNSEEN_HORIZON,
        features=features,
        left=left,
    )


def name_of(events: str, labels: str) -> str:
    """A pipeline's name from the topics': what both begin with, else the events' own.

    >>> name_of("crm.events", "crm.outcomes"), name_of("Orders-raw", "payments"), name_of("events", "labels")
    ('crm', 'orders', 'events')
    """
    ours, theirs = (re.split(r"[._-]+", topic.lower()) for topic in (events, labels))
    common = 0
    while common < min(len(ours), len(theirs)) and ours[common] == theirs[common]:
        common += 1
    words = ours[:common] or [word for word in ours if word not in _GENERIC] or ours
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words)).strip("-")[:63] or "pipeline"


def _timed(fields: Mapping[str, Field], name: str, time: str) -> tuple[list[Any], list[Any]]:
    """Ids and times of the rows that have both."""
    ids, stamps = fields[name], fields[time]
    assert stamps.times is not None  # noqa: S101 - it is a candidate
    known = dict(zip(stamps.places, stamps.times.tolist(), strict=True))
    rows = [
        (str(value), known[place])
        for place, value in zip(ids.places, ids.values, strict=True)
        if known.get(place, -1) >= 0
    ]
    return [name for name, _ in rows], [at for _, at in rows]


def _matched(events: Source, labels: Source, ids: IdPair, value: str) -> list[tuple[int, object]]:
    """Rows of events whose label is known, and its raw value."""
    field, said = labels.fields[ids.labels], labels.fields[value]
    at = dict(zip(said.places, said.values, strict=True))
    known = {
        str(name): at[place] for place, name in zip(field.places, field.values, strict=True) if place in at
    }
    named = events.fields[ids.events]
    return [
        (place, known[str(name)])
        for place, name in zip(named.places, named.values, strict=True)
        if str(name) in known
    ]


def _seen(events: Source, labels: Source) -> str:
    unique = [each.path for each in events.fields.values() if each.distinct > 0.5 * each.rows]
    return f"unique in events: {', '.join(unique[:5]) or 'none'}; in labels there are {_listed(labels)}"


def _listed(source: Source) -> str:
    return ", ".join(list(source.fields)[:8])


def _no_time(source: Source) -> Failure:
    seconds = [each.path for each in source.fields.values() if each.seconds]
    hint = f"; {seconds[0]!r} looks like seconds since 1970" if seconds else ""
    what = f"no field of {source.sample.topic} is a time in every record: ISO-8601 or milliseconds since 1970"
    return Failure(f"{what}{hint} (there are {_listed(source)})", Exit.FAILED)


def spread(field: Field) -> str:
    """What a label's values are, in a comment."""
    match field.kind:
        case "boolean":
            return f"{field.counts[True] / field.present:.1%} true"
        case "text":
            common = field.counts.most_common(5)
            return ", ".join(f"{value} {count / field.present:.1%}" for value, count in common)
        case _:
            numbers = field.numbers
            return f"{numbers.min():.6g} … {np.median(numbers):.6g} … {numbers.max():.6g}"
