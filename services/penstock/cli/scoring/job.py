"""One run of `penstock score`: rows from somewhere, scores to somewhere, and what was rejected."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

import numpy as np

from penstock.cli.applied import applied, chosen, known_codec
from penstock.cli.cluster import full_name
from penstock.cli.exits import Exit, Failure
from penstock.cli.outfile import written
from penstock.cli.output import as_json, counted, say
from penstock.cli.produce import send
from penstock.cli.scoring import writing
from penstock.cli.scoring.rows import Reader, Reject
from penstock.cli.scoring.version import ROWS, fetch
from penstock.cli.scoring.writing import Scores
from penstock.kernel.errors import Invalid
from penstock.kernel.times import event_time_ms
from penstock.runtime.broker import TopicPartition
from penstock.runtime.catalog import Names

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from penstock.cli.scoring.rows import Rows
    from penstock.runtime.broker import Broker
    from penstock.runtime.settings import Settings

_TOLD: Final = 3
"""Reasons that are told on stderr; the file of rejects has all."""


class Bound(NamedTuple):
    """One end of a stretch: an offset, or a time in milliseconds since 1970."""

    offset: int | None = None
    time: int | None = None


class Job:
    """One run of the verb.

    Args:
        args: of the command line.
        settings: say where the cluster is.
        broker: of it.

    Raises:
        Failure: there is no such pipeline or version, or the version cannot be used.
    """

    def __init__(self, args: argparse.Namespace, settings: Settings, broker: Broker) -> None:
        names = Names(settings.prefix)
        codec = known_codec(broker, names)
        self._args = args
        self._broker = broker
        self._prefix = settings.prefix
        self._pipeline = chosen(applied(broker, names, codec), args.pipeline)
        self._version = fetch(broker, names, codec, self._pipeline, args.version)
        self._many = self._version.many if args.explain else ROWS
        self._reader = Reader(self._pipeline)
        self._rejects: Counter[str] = Counter()
        self._examples: dict[str, Reject] = {}
        self._scored = 0

    def run(self, path: Path | None, form: str) -> int:
        """Score everything, to a file, stdout or a topic."""
        args, rows = self._args, self._rows()
        with ExitStack() as stack:
            rejects = None if args.rejects is None else stack.enter_context(written(args.rejects))
            parts = self._parts(rows, rejects)
            if args.to_topic:
                self._send(parts)
            else:
                file = sys.stdout.buffer if path is None else stack.enter_context(written(path))
                writing.write(file, form, self._pipeline, parts, explain=args.explain)
        return self._tell(args.to_topic or path)

    def _rows(self) -> Iterator[Rows]:
        args = self._args
        if args.file:
            at = args.event_time
            time = (
                None if at is None else event_time_ms(int(at) if at.isdecimal() else at, field="--event-time")
            )
            return self._reader.file(args.file, time=time, many=self._many)
        topic = full_name(args.topic, self._prefix, self._broker.topics())
        first, last = bound(args.first, "--from"), bound(args.last, "--to")
        ranges = self._ranges(topic, first, last)
        return self._reader.topic(self._broker, ranges, since=first.time, until=last.time, many=self._many)

    def _ranges(self, topic: str, first: Bound, last: Bound) -> dict[TopicPartition, tuple[int, int]]:
        partitions = [TopicPartition(topic, number) for number in range(self._broker.topics()[topic])]
        found = {}
        for where, (start, end) in self._broker.ends(partitions).items():
            begin = start if first.offset is None else max(start, first.offset)
            stop = end if last.offset is None else min(end, last.offset)
            if begin < stop:
                found[where] = begin, stop
        return found

    def _parts(self, batches: Iterator[Rows], rejects: BinaryIO | None) -> Iterator[Scores]:
        """The scores of the rows; what is rejected is written and counted on the way."""
        for rows in batches:
            self._reject(rows.rejects, rejects)
            if not rows.ids:
                continue
            scored, bad = self._version.score(rows.ids, rows.matrix)
            if bad.any():
                why = Invalid(scored.why_not(self._version.number), reason="unscored")
                self._reject([Reject(rows.places(at), why) for at in np.flatnonzero(bad).tolist()], rejects)
            if bad.all():
                continue
            good = np.flatnonzero(~bad)
            whys = self._version.explain(scored, rows.matrix) if self._args.explain else None
            self._scored += len(good)
            yield Scores(
                ids=[rows.ids[at] for at in good.tolist()],
                times=rows.times[good],
                version=self._version.number,
                scores=scored.scores[self._version.number][good],
                why=None if whys is None else whys._replace(values=whys.values[good]),
            )

    def _reject(self, found: Iterable[Reject], file: BinaryIO | None) -> None:
        for place, why in found:
            self._rejects[why.reason] += 1
            self._examples.setdefault(why.reason, Reject(place, why))
            if file is not None:
                told = {"place": place, "reason": why.reason, "field": why.field or None, "message": str(why)}
                file.write(as_json(told).encode() + b"\n")

    def _send(self, parts: Iterator[Scores]) -> None:

        topic = self._args.to_topic
        if topic.startswith(self._prefix):
            raise Failure(f"--to-topic: {topic} is one of Penstock's own topics", Exit.REFUSED)
        name = full_name(topic, "", self._broker.topics())
        producer = self._broker.producer()
        try:
            send(producer, writing.messages(self._pipeline, name, parts))
        finally:
            producer.close()

    def _tell(self, target: object) -> int:
        rejected = self._rejects.total()
        to = f", to {target}" if target else ""
        say(f"{counted(self._scored, 'row')} scored by version {self._version.number}{to}")
        if rejected:
            kept = f", all in {self._args.rejects}" if self._args.rejects else ""
            say(f"{counted(rejected, 'record')} rejected{kept}:")
            for reason, count in self._rejects.most_common(_TOLD):
                place, why = self._examples[reason]
                say(f"  {count:,} {reason}: {place}: {why}")
        return Exit.FAILED if rejected and not self._scored else Exit.OK


def bound(text: str | None, option: str) -> Bound:
    """An end of a stretch as it is typed: digits are an offset, anything else is a time.

    >>> bound("17", "--from"), bound("2026-03-01", "--from"), bound(None, "--to")
    (Bound(offset=17, time=None), Bound(offset=None, time=1772323200000), Bound(offset=None, time=None))
    """
    if text is None:
        return Bound()
    if text.isdecimal():
        return Bound(offset=int(text))
    try:
        return Bound(time=event_time_ms(text, field=option))
    except Invalid as why:
        raise Failure(
            f"{option} is {text!r}, expected an offset, or a time such as 2026-03-01T08:30:00Z", Exit.USAGE
        ) from why
