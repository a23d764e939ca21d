"""Make all decisions about a pipeline once more from the governor's journal, and compare them byte for byte.

The journal holds every fact in the order it was taken. The same facts give the same decisions, so a
difference means that the log was changed, or that this build decides otherwise than the one that wrote it:
exit code 1, with the first decision that differs, field by field.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from penstock.cli.address import add_broker
from penstock.cli.applied import add_pipeline, applied, chosen
from penstock.cli.cluster import connected, settings_of
from penstock.cli.controllog import ControlLog, Entry
from penstock.cli.exits import Exit, Failure
from penstock.cli.output import as_json, counted, table
from penstock.contracts.records import FactTaken
from penstock.governor.domain import replay
from penstock.runtime.catalog import Names

if TYPE_CHECKING:
    import argparse

    from penstock.runtime.broker import Broker

_TRIES: Final = 20
"""Journal and decisions are read in turn: what is written in between shows, and both are read again."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_pipeline(parser)
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    names = Names(settings.prefix)
    with connected(settings) as broker:
        pipeline = chosen(applied(broker, names), args.pipeline)
        done = replayed(broker, names, pipeline.name)
    if args.output == "json":
        print(as_json(done.told(), indent=True))
    elif done.same:
        print(f"{counted(done.count, 'decision')} from {counted(done.facts, 'fact')}, identical")
    else:
        print(done.difference)
        if done.fields:
            print(table(done.fields))
    return Exit.OK if done.same else Exit.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay came to.

    Args:
        pipeline: whose decisions.
        facts: in the journal.
        count: of decisions in the log.
        difference: the first one in words; empty where there is none.
        fields: of the two decisions that differ: name, what the log has, what the replay gives.
    """

    pipeline: str
    facts: int
    count: int
    difference: str = ""
    fields: tuple[dict[str, Any], ...] = ()

    @property
    def same(self) -> bool:
        return not self.difference

    def told(self) -> dict[str, object]:
        """For programs."""
        return {
            "pipeline": self.pipeline,
            "facts": self.facts,
            "decisions": self.count,
            "identical": self.same,
            "difference": self.difference or None,
            "fields": self.fields,
        }


def replayed(broker: Broker, names: Names, pipeline: str) -> Replayed:
    """The decisions about a pipeline made once more.

    Raises:
        Failure: the governor writes so fast that both topics are never seen at rest (7).
    """
    for _ in range(_TRIES):
        log = ControlLog(broker, names, pipeline)
        where = [*log.partitions("governor-journal"), *log.partitions("decisions")]
        before = broker.ends(where)
        log.read("governor-journal", "decisions")
        journal, decisions = log.of("governor-journal", FactTaken), log.all("decisions")
        if before == broker.ends(where) and not broker.unsettled(where):
            return compared(log, pipeline, journal, decisions)
    raise Failure(f"{pipeline} is decided about all the time: try again", Exit.TIMEOUT)


def compared(
    log: ControlLog, pipeline: str, journal: list[Entry[FactTaken]], decisions: list[Entry[Any]]
) -> Replayed:
    """What the journal gives beside what was decided."""
    identical = Replayed(pipeline=pipeline, facts=len(journal), count=len(decisions))
    for due, entry in enumerate(journal):
        if entry.event.ordinal != due:
            what = f"fact {entry.event.ordinal} stands where {due} is due"
            return replace(identical, difference=f"the journal has a hole: {what}")
    again = replay([(entry.event, log.decode(entry.event.value)) for entry in journal])
    for number, (theirs, mine) in enumerate(zip(decisions, again, strict=False), 1):
        if theirs.value != log.encode(mine):
            return replace(
                identical,
                difference=f"decision {number} of {len(decisions)} differs",
                fields=tuple(differing(theirs.event, mine)),
            )
    if len(decisions) != len(again):
        longer = [entry.event for entry in decisions] if len(decisions) > len(again) else again
        extra = longer[min(len(decisions), len(again))]
        what = f"the log has {counted(len(decisions), 'decision')}, the journal gives {len(again):,}"
        more = f"the first without a match is {type(extra).__name__} {extra.id}"
        return replace(identical, difference=f"{what}; {more}")
    return identical


def differing(theirs: Any, mine: Any) -> list[dict[str, Any]]:
    """The fields that differ; the type is one of them.

    The same fields in other bytes were written by another build's schema: then all of it is said to differ.
    """
    log, again = _fields(theirs), _fields(mine)
    names = list(dict.fromkeys([*log, *again]))
    found = [
        {"field": name, "log": log.get(name), "replay": again.get(name)}
        for name in names
        if log.get(name) != again.get(name)
    ]
    return found or [{"field": "schema", "log": "another build's", "replay": "this build's"}]


def _fields(decision: Any) -> dict[str, Any]:
    return {"type": type(decision).__name__, **dataclasses.asdict(decision)}
