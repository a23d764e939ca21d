"""Summaries: what a transaction saw of one partition, in sums that add up. Differences only.

Sums and squares are of the raw values: with the reference's mean at hand a reader gets means and spreads of
any row block from them. Pairs hold what a paired comparison of two versions needs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from penstock.contracts.records import (
    Answered,
    JudgedScore,
    Outcome,
    Pair,
    Prediction,
    RowBlock,
    Scored,
    TimeBlock,
)
from penstock.kernel.accepted import LabelSums
from penstock.kernel.blocks import ROWS, time_block

BINS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Consecutive predictions of one layout of features.

    Args:
        layout: digest of the features.
        categories: indices of the features that are categories.
        heads: the predictions.
        matrix: their features, shape (heads, features).
    """

    layout: str
    categories: frozenset[int]
    heads: Sequence[Prediction]
    matrix: NDArray[np.float64]


def row_blocks(ordinal: int, served: Served) -> Iterator[RowBlock]:
    """The row blocks that these rows fall in, the first of them at this ordinal."""
    start = 0
    while start < len(served.heads):
        block, within = divmod(ordinal + start, ROWS)
        end = min(start + ROWS - within, len(served.heads))
        yield _row_block(block, served, start, end)
        start = end


def _row_block(block: int, served: Served, start: int, end: int) -> RowBlock:
    values = served.matrix[start:end]
    present = ~np.isnan(values)
    filled = np.where(present, values, 0.0)
    cleared = [0] * values.shape[1]
    for head in served.heads[start:end]:
        for place in head.cleared:
            cleared[place] += 1
    return RowBlock(
        block=block,
        layout=served.layout,
        rows=end - start,
        present=tuple(present.sum(axis=0).tolist()),
        sums=tuple(filled.sum(axis=0).tolist()),
        squares=tuple(np.square(filled).sum(axis=0).tolist()),
        cleared=tuple(cleared),
        categories=tuple(
            _counted(values[present[:, place], place]) if place in served.categories else {}
            for place in range(values.shape[1])
        ),
    )


def _counted(codes: NDArray[np.float64]) -> dict[str, int]:
    found, counts = np.unique(codes, return_counts=True)
    return {str(int(code)): count for code, count in zip(found, counts.tolist(), strict=True)}


def scored(heads: Sequence[Prediction], *, histogram: bool) -> Iterator[Scored]:
    """What each version said; failures have no value. `histogram` where values are probabilities."""
    values: defaultdict[int, list[float]] = defaultdict(list)
    failed: defaultdict[int, int] = defaultdict(int)
    for head in heads:
        for score in head.scores:
            if score.values:
                values[score.version].append(score.values[0])
            else:
                failed[score.version] += 1
    for version in sorted(values.keys() | failed.keys()):
        said = np.array(values[version])
        bins = np.histogram(said, bins=BINS, range=(0.0, 1.0))[0].tolist() if histogram else []
        yield Scored(
            version=version,
            rows=len(said),
            failed=failed[version],
            sum=float(said.sum()),
            squares=float(np.square(said).sum()),
            histogram=tuple(bins),
        )


def answered(heads: Sequence[Prediction]) -> Iterator[Answered]:
    """How many rows each version answered, in which role."""
    counts: defaultdict[tuple[object, ...], int] = defaultdict(int)
    first: dict[tuple[object, ...], Prediction] = {}
    for head in heads:
        key = head.origin, head.version, head.role
        counts[key] += 1
        first.setdefault(key, head)
    for who, count in counts.items():
        head = first[who]
        yield Answered(origin=head.origin, version=head.version, role=head.role, rows=count)


def time_blocks(outcomes: Sequence[Outcome], length: int, *, classes: int) -> Iterator[TimeBlock]:
    """Outcomes by block of event time, kind, origin and the set of versions that were judged on them.

    Args:
        outcomes: of one partition.
        length: of a block, milliseconds.
        classes: that the pipeline lists; 0 unless its task is multiclass.
    """
    grouped: defaultdict[tuple[object, ...], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        versions = tuple(score.version for score in judged(outcome))
        start = time_block(outcome.time, length)
        grouped[start, outcome.kind, outcome.origin, versions].append(outcome)
    for group in grouped.values():
        yield _time_block(group, length, classes)


def judged(outcome: Outcome) -> list[JudgedScore]:
    """The scores that have a loss, by version."""
    return sorted(
        (score for score in outcome.scores if score.loss is not None), key=lambda score: score.version
    )


def _time_block(group: Sequence[Outcome], length: int, classes: int) -> TimeBlock:
    first = group[0]
    versions = tuple(score.version for score in judged(first))
    losses = np.array([[score.loss for score in judged(outcome)] for outcome in group], dtype=np.float64)
    labels = LabelSums.of([each.label for each in group if each.label is not None], classes=classes)
    return TimeBlock(
        start=time_block(first.time, length),
        length=length,
        group="",
        kind=first.kind,
        origin=first.origin,
        versions=versions,
        rows=len(group),
        labels=labels.total,
        squares=labels.squares,
        counts=labels.counts,
        losses=tuple(losses.sum(axis=0).tolist()) if versions else (),
        pairs=tuple(
            _pair(versions[one], versions[other], losses[:, other] - losses[:, one])
            for one, other in combinations(range(len(versions)), 2)
        ),
    )


def _pair(first: int, second: int, d: NDArray[np.float64]) -> Pair:
    return Pair(
        first=first,
        second=second,
        sum=float(d.sum()),
        squares=float(np.square(d).sum()),
        first_better=int((d > 0).sum()),
        second_better=int((d < 0).sum()),
    )
