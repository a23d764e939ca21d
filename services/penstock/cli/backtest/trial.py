"""From files to a result: read, complete, feed, run, judge."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from penstock.cli.backtest.baselines import baselines
from penstock.cli.backtest.drive import Drive
from penstock.cli.backtest.feed import arrivals
from penstock.cli.backtest.history import read_history
from penstock.cli.backtest.labels import Delay, arrival, labels_of_column, labels_of_file
from penstock.cli.backtest.result import result
from penstock.cli.backtest.spec import read_spec
from penstock.cli.cells import of_events
from penstock.cli.exits import Exit, Failure
from penstock.cli.learning import FIRST_ROWS, learn
from penstock.cli.output import counted
from penstock.cli.recordfile import columns, read
from penstock.kernel.errors import Invalid
from penstock.kernel.mistakes import Wrong, show
from penstock.kernel.times import event_time_ms
from penstock.kernel.units import show_duration
from penstock.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from penstock.cli.backtest.history import Row
    from penstock.cli.backtest.labels import Told
    from penstock.cli.backtest.result import Result
    from penstock.kernel.pipeline import Pipeline

_SECOND: Final = 1000
_LARGEST_ROW: Final = 10_000_000_000
"""A number above this is a time in milliseconds, not a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is asked for, as on the command line."""

    spec: Path
    events: Path
    labels: Path | None = None
    label_column: str | None = None
    label_delay: str | None = None
    delay_column: str | None = None
    score_from: str = "10%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of it.

    Args:
        result: what is printed.
        dated: whether the rows had times of their own.
    """

    result: Result
    dated: bool


def trial(
    asked: Trial,
    say: Callable[[str], None] = lambda _: None,
    progress: Callable[[int, int], None] | None = None,
) -> Done:
    """Run a backtest.

    Args:
        asked: what for.
        say: is told what a reader of the result should know.
        progress: is told now and then how much of the history has arrived, and how much there is.

    Raises:
        Failure: the pipeline file, the events or the labels are wrong.
    """
    began = time.monotonic()
    spec = read_spec(asked.spec, label_column=asked.label_column)
    history = read_history(
        asked.events, spec.pipeline, label_column=asked.label_column, delay_column=asked.delay_column
    )
    rows = history.rows
    told = list(_labels(asked, spec.pipeline, rows))
    begins = _begins(asked.score_from, rows)
    pipeline = _completed(spec.pipeline, asked, rows, told, horizon_given=spec.horizon_given)
    for note in (*spec.notes, *history.notes, *_doubts(pipeline, rows, told)):
        say(note)
    fed = arrivals(pipeline, rows, told)
    with logs.silent():
        ran = Drive(pipeline).run(rows, fed, progress=progress)
    done = result(
        pipeline,
        ran,
        times=[row.time for row in rows],
        labels=_truth(rows, told),
        begins=begins,
        known=baselines(fed, task=pipeline.task, outputs=pipeline.outputs),
        seconds=time.monotonic() - began,
    )
    if done.letters:
        say(f"{counted(len(done.letters), 'record')} became dead letters, the first: {done.letters[0]}")
    names = columns(asked.events) or ()
    return Done(result=done, dated=pipeline.events.time in names)


def _labels(asked: Trial, pipeline: Pipeline, rows: Sequence[Row]) -> Sequence[Told]:
    if asked.labels is not None:
        found = list(labels_of_file(asked.labels, pipeline, rows))
    else:
        delay: Delay | str = asked.delay_column or ""
        if asked.label_delay is not None:
            try:
                delay = Delay.read(asked.label_delay)
            except Wrong as wrong:
                raise Failure(f"--label-delay: {wrong}", Exit.USAGE) from wrong
        column = asked.label_column or ""
        found = list(labels_of_column(pipeline, rows, column=column, delay=delay))
    if not any(each.row >= 0 for each in found):
        raise Failure("no event has a label: do the ids of both files match?", Exit.INVALID)
    return found


def _completed(
    pipeline: Pipeline, asked: Trial, rows: Sequence[Row], told: Sequence[Told], *, horizon_given: bool
) -> Pipeline:
    """With the categories of the first rows, and with a horizon."""
    if pipeline.unlearned:
        first = islice(read(asked.events, of_events(pipeline)), FIRST_ROWS)
        pipeline = pipeline.frozen(learn(pipeline, first, str(asked.events)))
    if horizon_given:
        return pipeline
    delays = [each.time - rows[each.row].time for each in told if each.time is not None and each.row >= 0]
    horizon = max([_SECOND, *delays])
    return replace(pipeline, labels=replace(pipeline.labels, horizon=horizon))


def _begins(where: str, rows: Sequence[Row]) -> NDArray[np.bool_]:
    """Which rows are scored.

    Args:
        where: a row's number, a time, or a share such as 10%.
        rows: of the history.

    Raises:
        Failure: it is none of these, or no row is left.
    """
    begins = np.zeros(len(rows), dtype=np.bool_)
    order = arrival(rows)
    if where.endswith("%") and where[:-1].isdecimal():
        begins[order[len(rows) * int(where[:-1]) // 100 :]] = True
    elif where.isdecimal() and int(where) < _LARGEST_ROW:
        begins[order[int(where) :]] = True
    else:
        try:
            since = event_time_ms(int(where) if where.isdecimal() else where)
        except Invalid as why:
            message = f"--score-from: expected a row, a time or a share such as 10%, got {show(where)}"
            raise Failure(message, Exit.USAGE) from why
        begins[[number for number, row in enumerate(rows) if row.time >= since]] = True
    if not begins.any():
        raise Failure(f"--score-from: no row is left from {where} on", Exit.USAGE)
    return begins


def _truth(rows: Sequence[Row], told: Sequence[Told]) -> NDArray[np.float64]:
    """The label of each row, of several the last to become known; NaN where there is none."""
    labels = np.full(len(rows), np.nan)
    for each in sorted(told, key=lambda each: (each.time is None, each.time)):
        if each.row >= 0:
            labels[each.row] = each.label
    return labels


def _doubts(pipeline: Pipeline, rows: Sequence[Row], told: Sequence[Told]) -> list[str]:
    """What makes a result empty."""
    horizon = pipeline.labels.horizon
    found = []
    span = max(row.time for row in rows) - min(row.time for row in rows)
    first = pipeline.policy.first_training
    if span < first + horizon:
        found.append(
            f"no training will be due: policy.first_training is {show_duration(first)} of labels"
            f" with a horizon of {show_duration(horizon)}, and the history is {show_duration(span)} long"
        )
    late = sum(
        each.time is not None and each.row >= 0 and each.time > rows[each.row].time + horizon for each in told
    )
    if late:
        found.append(f"{counted(late, 'label')} came later than the horizon of {show_duration(horizon)}")
    return found
