"""The chain of causes behind an event, followed down to the offsets of what was counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from penstock.cli.controllog import ControlLog, Entry, place_text
from penstock.cli.decisions import PREFIX
from penstock.cli.telling import compared_in, reason_of, time_of, told
from penstock.cli.times import day_of, iso, iso_or_none
from penstock.contracts import records as r

if TYPE_CHECKING:
    from collections.abc import Mapping

_WIDTH: Final = 92
"""Of the text in a tree: with what stands before it, a line of a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An event, and what led to it.

    Args:
        place: where it stands.
        event: what stands there; None where it is gone.
        day: of event time, since the pipeline's first outcome.
        label: what it is to the one above, where that is not plainly a cause.
        notes: what else there is to know of it.
        seen: it stands further up, with its causes.
        causes: the last one first, as decisions name them.
    """

    place: r.Source
    event: Any
    day: int | None = None
    label: str = ""
    notes: tuple[str, ...] = ()
    seen: bool = False
    causes: tuple[Link, ...] = ()


@dataclass(slots=True)
class Chains:
    """Follows causes through the log.

    Args:
        log: where they stand.
        needed: e-value that a comparison has to reach, by the digest of the policy that says so.
    """

    log: ControlLog
    needed: Mapping[str, float] = field(default_factory=dict)
    _seen: set[r.Source] = field(default_factory=set)

    def of(self, entry: Entry[Any], label: str = "") -> Link:
        """An event with all that led to it; what stands in the chain twice is followed once."""
        event, place = entry.event, entry.place
        day = day_of(time_of(event), self.log.begun(getattr(event, "pipeline", "")))
        if place in self._seen:
            return Link(place=place, event=event, day=day, label=label, seen=True)
        self._seen.add(place)
        undone = self._undone(entry)
        found = [(cause, self.log.at(cause)) for cause in getattr(event, "causes", ())]
        # What was seen before how far it was seen: the comparison, then the heartbeat that let it count.
        found.sort(key=lambda cause: cause[1] is not None and isinstance(cause[1].event, r.Heartbeat))
        causes = [
            Link(place=where, event=None) if cause is None else self.of(cause) for where, cause in found
        ]
        return Link(
            place=place,
            event=event,
            day=day,
            label=label,
            notes=tuple(self._notes(event)),
            causes=(*undone, *causes),
        )

    def _undone(self, entry: Entry[Any]) -> list[Link]:
        """The promotion that a rollback took back."""
        event = entry.event
        if not isinstance(event, r.RolledBack):
            return []
        fallen = event.numbers.get("fallen")
        before = [
            each
            for each in self.log.of("decisions", r.Promoted)
            if each.event.pipeline == event.pipeline
            and each.event.version == fallen
            and each.place.offset < entry.place.offset
        ]
        return [self.of(before[-1], "it took back")] if before else []

    def _notes(self, event: Any) -> list[str]:
        notes = []
        needed = self.needed.get(getattr(event, "policy", ""))
        if needed is not None and isinstance(event, r.RolledBack | r.Rejected) and "better" in event.numbers:
            notes.append(f"the policy asks for an e-value of {needed:.4g} before it is believed")
        if isinstance(event, r.VersionRegistered):
            notes += self._course(event)
        return notes

    def _course(self, version: r.VersionRegistered) -> list[str]:
        """The stages of a version, and the decisions that gave it them."""
        kinds = {entry.event.id: type(entry.event).__name__ for entry in self.log.all("decisions")}
        return [
            f"{staged.stage.lower()} {f'from {iso(staged.event_time)}' if staged.event_time else 'at first'}"
            f" by {kinds.get(staged.decision, 'decision')} {staged.decision[:PREFIX]}"
            for staged in (entry.event for entry in self.log.of("lifecycle", r.VersionStaged))
            if (staged.pipeline, staged.version) == (version.pipeline, version.version)
        ]


def as_told(link: Link) -> dict[str, Any]:
    """For programs."""
    event = link.event
    own = {
        "type": None if event is None else type(event).__name__,
        "id": getattr(event, "id", None),
        "place": place_text(link.place),
        "event_time": iso_or_none(time_of(event)),
        "day": link.day,
        "said": None if event is None else told(event),
        "reason": reason_of(event),
        "compared": compared_in(event),
        "notes": link.notes,
        "label": link.label or None,
    }
    return own if link.seen else {**own, "causes": [as_told(cause) for cause in link.causes]}


def tree(link: Link, prefix: str) -> list[str]:
    """For people: what happened, indented under it what led to it.

    Args:
        link: the root.
        prefix: of topics, which is left out.
    """
    below = list(link.causes)
    body = (part for each in _body(link) for part in wrap(each, _WIDTH, subsequent_indent="  "))
    lines = [_head(link, prefix), *(f"{'│' if below else ' '} {each}" for each in body)]
    for number, cause in enumerate(below, 1):
        last = number == len(below)
        first, *rest = tree(cause, prefix)
        lines += [f"{'└─' if last else '├─'} {first}", *(f"{'  ' if last else '│ '} {each}" for each in rest)]
    return lines


def _head(link: Link, prefix: str) -> str:
    place = place_text(link.place).removeprefix(prefix)
    label = f"{link.label}: " if link.label else ""
    if link.event is None:
        return f"{label}{place}, which is no longer in the log"
    name, time = type(link.event).__name__, time_of(link.event)
    id_ = getattr(link.event, "id", "")[:PREFIX]
    day = "" if link.day is None else f" (day {link.day})"
    told_when = "" if time is None else f"  {iso(time)}{day}"
    return f"{label}{name}{f' {id_}' if id_ else ''}{told_when}  {place}{', see above' if link.seen else ''}"


def _body(link: Link) -> list[str]:
    event = link.event
    if event is None or link.seen:
        return []
    reason, compared = reason_of(event), compared_in(event)
    return [
        told(event),
        *([f"reason: {reason}"] if reason else []),
        *([f"compared: {compared}"] if compared else []),
        *link.notes,
    ]
