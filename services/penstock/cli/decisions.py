"""Decisions as the verbs show them: which there are, and which one is meant."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from penstock.cli.controllog import ControlLog, Entry, place_text
from penstock.cli.exits import Exit, Failure
from penstock.cli.telling import compared_in, reason_of, told
from penstock.cli.times import day_of, iso, iso_or_none

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX: Final = 8
"""Characters of an id in a table: one in four billion, and `why` takes any number of them."""
_SHOWN: Final = 5


def listed(log: ControlLog, pipeline: str) -> list[dict[str, Any]]:
    """The decisions about a pipeline in the order they were made, for programs."""
    begun = log.begun(pipeline)
    return [line(entry, begun) for entry in log.all("decisions") if entry.event.pipeline == pipeline]


def line(entry: Entry[Any], begun: int | None) -> dict[str, Any]:
    """One decision; `begun` is where the pipeline's days are counted from."""
    decision = entry.event
    return {
        "id": decision.id,
        "pipeline": decision.pipeline,
        "type": type(decision).__name__,
        "version": getattr(decision, "version", None),
        "lane": getattr(decision, "lane", None),
        "event_time": iso_or_none(decision.event_time),
        "day": day_of(decision.event_time, begun),
        "time": iso(decision.time),
        "reason": reason_of(decision),
        "said": told(decision),
        "causes": [place_text(cause) for cause in decision.causes],
    }


def described(entry: Entry[Any], begun: int | None) -> dict[str, Any]:
    """Everything there is to say about one decision."""
    head = line(entry, begun)
    fields = {
        name: value
        for name, value in dataclasses.asdict(entry.event).items()
        if name not in head and name != "spec"  # the whole pipeline: `policy` and the journal name it
    }
    return {**head, "compared": compared_in(entry.event), **fields, "place": place_text(entry.place)}


def found(entries: Iterable[Entry[Any]], word: str, what: str) -> Entry[Any]:
    """The entry whose id begins with the word.

    Raises:
        Failure: none does (4), or several do (2).
    """
    # The same event may stand twice, where its writer writes at least once.
    meant = {entry.event.id: entry for entry in entries if entry.event.id.startswith(word.lower())}
    if word.lower() in meant:
        return meant[word.lower()]
    if not word or not meant:
        raise Failure(f"no {what} has an id that begins with '{word}'", Exit.NOT_FOUND)
    if len(meant) > 1:
        some = ", ".join(
            f"{type(entry.event).__name__} {key}" for key, entry in sorted(meant.items())[:_SHOWN]
        )
        more = f" and {len(meant) - _SHOWN} more" if len(meant) > _SHOWN else ""
        raise Failure(f"'{word}' may be {some}{more}: give more of the id", Exit.USAGE)
    return next(iter(meant.values()))
