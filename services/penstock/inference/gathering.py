"""Answers that were given one by one, put together as rows that can be written at once."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from penstock.inference.domain import Scored
from penstock.inference.writing import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from penstock.inference.oip import Served
    from penstock.runtime.broker import Headers


class Noted(NamedTuple):
    """An answer, and the headers that name its call."""

    served: Served
    headers: Headers


class Part(NamedTuple):
    """Rows to be written at once, and the headers of each one's record."""

    rows: Rows
    headers: Sequence[Headers]


def parts(noted: Iterable[Noted], *, most: int) -> Iterator[Part]:
    """All rows, in their order, at most so many at a time and only such as the same versions have scored."""
    for _, run in groupby(noted, key=_alike):
        whole = _together(list(run))
        if len(whole.headers) <= most:
            yield whole
        else:
            yield from (_cut(whole, start, start + most) for start in range(0, len(whole.headers), most))


def _alike(noted: Noted) -> tuple[int, tuple[tuple[int, str], ...]]:
    asked, scored = noted.served[:2]
    return id(asked.serving), tuple(scored.failed.items())


def _cut(part: Part, start: int, end: int) -> Part:
    rows, here = part.rows, slice(start, end)
    scored = rows.scored
    return Part(
        Rows(
            serving=rows.serving,
            scored=Scored(
                scored.answers[here],
                {version: scores[here] for version, scores in scored.scores.items()},
                scored.failed,
            ),
            ids=rows.ids[here],
            times=rows.times[here],
            cleared=rows.cleared[here],
            matrix=rows.matrix[here],
            parameters=rows.parameters[here],
            attributions=rows.attributions[here],
        ),
        part.headers[here],
    )


def _together(run: Sequence[Noted]) -> Part:
    served = [noted.served for noted in run]
    asked = [each.asked for each in served]
    scored = [each.scored for each in served]
    counts = [len(each.ids) for each in asked]
    beside: Sequence[Any] = ()
    if any(each.parameters for each in asked):
        beside = [each.parameters for each, count in zip(asked, counts, strict=True) for _ in range(count)]
    whys: Sequence[Any] = ()
    if any(each.attributions for each in served):
        whys = [
            why
            for each, count in zip(served, counts, strict=True)
            for why in (each.attributions or ((),) * count)
        ]
    first = scored[0]
    rows = Rows(
        serving=asked[0].serving,
        scored=Scored(
            tuple([answer for each in scored for answer in each.answers]),
            {version: np.concatenate([each.scores[version] for each in scored]) for version in first.scores},
            first.failed,
        ),
        ids=[id_ for each in asked for id_ in each.ids],
        times=[time for each in asked for time in each.times],
        cleared=[places for each in asked for places in each.vectors.cleared],
        matrix=np.concatenate([each.vectors.matrix for each in asked]),
        parameters=beside,
        attributions=whys,
    )
    return Part(rows, [noted.headers for noted, count in zip(run, counts, strict=True) for _ in range(count)])
