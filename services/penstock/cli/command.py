"""A command to the governor: write it down, and wait until its answer stands in the log.

The governor answers each command with a decision that names it as its cause; `Alerted` says that nothing can
be done.
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from penstock.cli.address import add_broker
from penstock.cli.applied import add_pipeline, chosen
from penstock.cli.apply import write
from penstock.cli.cluster import connected, settings_of
from penstock.cli.controllog import ControlLog, Entry, place_text
from penstock.cli.decisions import PREFIX, line
from penstock.cli.exits import Exit, Failure
from penstock.cli.numbers import count
from penstock.cli.output import as_json
from penstock.cli.telling import reason_of, told
from penstock.cli.who import add_operator, operator
from penstock.contracts.records import Alerted, DeadLetter, Source
from penstock.kernel.errors import Invalid
from penstock.kernel.hashing import partition_of
from penstock.runtime.broker import TopicPartition
from penstock.runtime.catalog import Catalog, Names
from penstock.runtime.codec import UnknownSchema
from penstock.runtime.deadletter import HEADER

if TYPE_CHECKING:
    import argparse

    from penstock.governor.domain.facts import Command
    from penstock.runtime.broker import Broker, Record

Make = Callable[[dict[str, Any]], "Command"]
"""A command from what all have in common: id, pipeline, time, operator, reason."""

SECONDS: Final = 30


def add_command(parser: argparse.ArgumentParser) -> None:
    """The arguments that every command has."""
    add_pipeline(parser)
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; it stands in the decision")
    add_operator(parser)
    parser.add_argument("--no-wait", action="store_true", help="do not wait for the governor's answer")
    parser.add_argument(
        "--timeout", type=count, default=SECONDS, metavar="SECONDS", help="how long to wait (%(default)s)"
    )
    add_broker(parser)


def ask(args: argparse.Namespace, make: Make) -> int:
    """Run a verb that is a command.

    Raises:
        Failure: it could not be written (6), was not answered in time (7), or the governor refused it (8).
    """
    settings = settings_of(args)
    names = Names(settings.prefix)
    with connected(settings) as broker:
        catalog = Catalog(broker, names)  # also writes the schemas of this build, where they are missing
        catalog.close()
        pipelines = sorted(catalog.pipelines.values(), key=lambda each: each.name)
        pipeline = chosen(pipelines, args.pipeline).name
        command = make(asked(pipeline, operator=operator(args.operator), reason=args.reason))
        inbox = give(broker, catalog, command)
        if args.no_wait:
            _tell(args, inbox, None)
            return Exit.OK
        if not inbox.wait(args.timeout):
            what = f"no answer within {args.timeout} s: {inbox.standing}"
            raise Failure(f"{what}, and will be answered once a governor runs", Exit.TIMEOUT)
        refused = _refusal(inbox)
        _tell(args, inbox, ControlLog(broker, names, pipeline).begun(pipeline))
    if refused:
        raise Failure(refused, Exit.REFUSED)
    return Exit.OK


def asked(pipeline: str, *, operator: str, reason: str) -> dict[str, Any]:
    """What all commands have in common, of one that is asked for now."""
    return {
        "id": str(uuid.uuid4()),
        "pipeline": pipeline,
        "time": time.time_ns() // 1_000_000,
        "operator": operator,
        "reason": reason,
    }


def give(broker: Broker, catalog: Catalog, command: Command) -> Inbox:
    """Write a command down; what will be written about it.

    Raises:
        Failure: it could not be written (6).
    """
    inbox = Inbox(broker, catalog.names, command)
    write(broker, [catalog.control_message("commands", command.pipeline, command)])
    return inbox


@dataclass(slots=True)
class Inbox:
    """What is written about a command, from just before it is written.

    Args:
        broker: where.
        names: of its topics.
        command: not written yet.
    """

    broker: Broker
    names: Names
    command: Command
    place: Source | None = None
    decisions: list[Entry[Any]] = field(default_factory=list)
    refused: DeadLetter | None = None
    _log: ControlLog = field(init=False)
    _starts: dict[TopicPartition, int] = field(init=False)
    _letters: list[DeadLetter] = field(default_factory=list)
    _waiting: list[Entry[Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._log = ControlLog(self.broker, self.names, self.command.pipeline)
        topics = self.broker.topics()
        wanted = ("commands", "decisions", "dead-letters.governor")
        partition = partition_of(self.command.pipeline.encode(), topics[self.names.of("commands")])
        where = [TopicPartition(self.names.of(topic), partition) for topic in wanted]
        self._starts = {each: end for each, (_, end) in self.broker.ends(where).items()}

    def wait(self, seconds: float) -> bool:
        """Whether the answer came in time. It is complete then: one transaction holds all of it."""
        reader = self.broker.reader(self._starts)
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                polled = reader.poll(500, 0.2)
                for record in polled.records:
                    self._take(record)
                self._sort()
                if (self.decisions or self.refused) and not polled.records:
                    return True
        finally:
            reader.close()
        return bool(self.decisions or self.refused)

    @property
    def standing(self) -> str:
        """Where the command is."""
        return "the command is written" if self.place is None else f"the command is {place_text(self.place)}"

    def _take(self, record: Record) -> None:
        place = Source(topic=record.topic, partition=record.partition, offset=record.offset)
        letter = next((value for name, value in record.headers if name == HEADER), None)
        try:
            event = self._log.decode((letter if letter is not None else record.value) or b"")
        except (Invalid, UnknownSchema):
            return
        if isinstance(event, DeadLetter):
            self._letters.append(event)
        elif getattr(event, "id", None) == self.command.id:
            self.place = place
        elif hasattr(event, "causes"):
            entry = Entry(place=place, stamp=record.timestamp, event=event, value=record.value or b"")
            self._waiting.append(entry)

    def _sort(self) -> None:
        """The answer may be read before the command itself."""
        if self.place is None:
            return
        self.decisions += [entry for entry in self._waiting if self.place in entry.event.causes]
        self._waiting = []
        self.refused = next((each for each in self._letters if each.source == self.place), None)


def _refusal(inbox: Inbox) -> str:
    """Why nothing was done; empty where something was."""
    if inbox.refused is not None:
        return inbox.refused.message
    if not all(isinstance(entry.event, Alerted) for entry in inbox.decisions):
        return ""
    return "; ".join(reason_of(entry.event) for entry in inbox.decisions)


def _tell(args: argparse.Namespace, inbox: Inbox, begun: int | None) -> None:
    command = inbox.command
    if args.output == "json":
        asked = {"type": type(command).__name__, **dataclasses.asdict(command)}
        place = None if inbox.place is None else place_text(inbox.place)
        answers = [line(entry, begun) for entry in inbox.decisions]
        refused = None if inbox.refused is None else inbox.refused.message
        told_all = {"command": {**asked, "place": place}, "decisions": answers, "refused": refused}
        print(as_json(told_all, indent=True))
    elif args.no_wait:
        print(f"{told(command)}: the governor's answer will stand in `penstock decisions list`")
    else:
        for entry in inbox.decisions:
            event = entry.event
            if not isinstance(event, Alerted):
                print(f"{type(event).__name__} {event.id[:PREFIX]}: {told(event)}: {reason_of(event)}")
