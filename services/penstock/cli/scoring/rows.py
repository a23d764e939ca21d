"""What is to be scored: events of a file or of a topic, made into rows as intake makes them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from penstock.cli.cells import of_events
from penstock.cli.exits import Exit, Failure
from penstock.cli.recordfile import columns, placed
from penstock.cli.registries import registries_here
from penstock.cli.scoring.parquet import is_parquet, parquet_columns, parquet_records
from penstock.ingest.domain.intake import event_paths, number_paths, take_events, word_paths
from penstock.ingest.domain.veil import veiled
from penstock.kernel.arrivals import Freshness
from penstock.kernel.errors import Invalid
from penstock.kernel.paths import dig
from penstock.kernel.pii import no_key
from penstock.runtime.errors import NotYet
from penstock.runtime.fold import read_range
from penstock.runtime.records import column, pick
from penstock.runtime.secret import read_key
from penstock.runtime.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from penstock.kernel.features import FloatArray
    from penstock.kernel.pipeline import Pipeline
    from penstock.runtime.broker import Broker, Record, TopicPartition

_NEVER: Final = 2**62
"""A file's records were written at no time that is known, so none of them is too old or too new."""


class Reject(NamedTuple):
    """A record that is not scored.

    Args:
        place: where it stands.
        why: with a stable reason, and the field at fault.
    """

    place: str
    why: Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some rows, and the records beside them that are none.

    Args:
        ids: of the events.
        times: of the events, milliseconds since 1970, shape (rows,).
        matrix: the features, shape (rows, features).
        places: where each row's record stands; asked for only where it matters.
        rejects: records that are no rows.
    """

    ids: Sequence[str]
    times: NDArray[np.int64]
    matrix: FloatArray
    places: Callable[[int], str]
    rejects: Sequence[Reject]


class Reader:
    """Makes rows of a pipeline's events, by intake's own function.

    Raises:
        Failure: ids or words are hashed, and there is no key.
    """

    def __init__(self, pipeline: Pipeline, environment: Mapping[str, str] = os.environ) -> None:
        self.pipeline = pipeline
        named = environment.get("PENSTOCK_PII_KEY_FILE")
        if pipeline.hashes and not named:
            raise Failure(no_key(pipeline.name), Exit.INVALID)
        self._key = read_key(Path(named), variable="PENSTOCK_PII_KEY_FILE") if named else None
        anytime = replace(pipeline.events, freshness=Freshness())
        self._of_file = replace(pipeline, events=anytime)

    def file(self, path: Path, *, time: int | None, many: int) -> Iterator[Rows]:
        """The events of a file, so many at a time.

        Without a column of ids the number of a row is its id.

        Args:
            path: an Avro container, JSON lines, CSV or Parquet.
            time: of events that have none; they are rejected where it is left out.
            many: rows at most.
        """
        events, paths = self.pipeline.events, event_paths(self.pipeline)
        if is_parquet(path):
            names, records = set(parquet_columns(path)), parquet_records(path)
        else:
            names, records = (
                set(columns(path) or ()),
                ((place.at(), record) for place, record in placed(path, of_events(self.pipeline))),
            )
        self._require_features(path, names)
        numbered = events.id.partition(".")[0] not in names and events.id not in names
        count = 0
        while batch := list(islice(records, many)):
            found: dict[str, list[Any]] = {each: [dig(record, each) for _, record in batch] for each in paths}
            if numbered:
                found[events.id] = list(map(str, range(count, count + len(batch))))
            if time is not None:
                found[events.time] = [time if value is None else value for value in found[events.time]]
            count += len(batch)
            yield self._rows(self._of_file, found, [_NEVER] * len(batch), [place for place, _ in batch], [])

    def topic(
        self,
        broker: Broker,
        ranges: Mapping[TopicPartition, tuple[int, int]],
        *,
        since: int | None,
        until: int | None,
        many: int,
    ) -> Iterator[Rows]:
        """The events of stretches of a topic, in the pipeline's wire format.

        Args:
            broker: where.
            ranges: first offset and the one after the last, of each partition.
            since: records that were written before are left out.
            until: so are those written then or later.
            many: rows at most.
        """
        wire = Wire(
            self.pipeline.events.format,
            event_paths(self.pipeline),
            registries_here(),
            numbers=number_paths(self.pipeline),
            words=word_paths(self.pipeline),
        )
        for batch in read_range(broker, ranges):
            stamps = column(batch, "timestamp")
            wanted = [
                place
                for place, stamp in enumerate(stamps)
                if (since is None or stamp >= since) and (until is None or stamp < until)
            ]
            for start in range(0, len(wanted), many):
                yield self._of_records(wire, pick(batch, wanted[start : start + many]))

    def _of_records(self, wire: Wire, records: Sequence[Record]) -> Rows:
        try:
            found = wire.read(records)
        except NotYet as away:
            raise Failure(str(away), Exit.UNREACHABLE) from away
        taken = pick(records, found.places)
        rejects = [Reject(_place(records[at]), self._veiled(why)) for at, why in found.refused.items()]
        places = [_place(record) for record in taken]
        return self._rows(self.pipeline, found.values, column(taken, "timestamp"), places, rejects)

    def _rows(
        self,
        pipeline: Pipeline,
        values: Mapping[str, Any],
        written: Sequence[int],
        places: Sequence[str],
        rejects: Sequence[Reject],
    ) -> Rows:
        intake = take_events(pipeline, values, written, key=self._key)
        kept = [place for at, place in enumerate(places) if at not in intake.refused]
        refused = [Reject(places[at], self._veiled(why)) for at, why in intake.refused.items()]
        return Rows(
            ids=intake.ids,
            times=intake.times,
            matrix=intake.matrix,
            places=kept.__getitem__,
            rejects=[*rejects, *refused],
        )

    def _veiled(self, why: Invalid) -> Invalid:
        return veiled(self.pipeline.pii, why) if self.pipeline.pii else why

    def _require_features(self, path: Path, names: set[str]) -> None:
        fields = {each.field for each in self.pipeline.features} - {self.pipeline.events.time}
        tops = names | {name.partition(".")[0] for name in names}
        if fields and not any(field in tops or field.partition(".")[0] in tops for field in fields):
            some = ", ".join(sorted(fields)[:5])
            raise Failure(
                f"{path}: no column of a feature in it ({some}): is there a header line?", Exit.INVALID
            )


def _place(record: Record) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"
