"""What a sample says, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.cli.output import counted, table
from penstock.cli.times import iso
from penstock.kernel.kinds import Category, TimePart
from penstock.kernel.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from penstock.cli.sampled.judged import Column, Judged, JudgedEvents, JudgedLabels, Met, Why
    from penstock.cli.sampled.reading import Sample
    from penstock.kernel.pipeline import Pipeline

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000


def share(part: int, whole: int) -> str:
    """A share as people read it; never 0% or 100% of what is not.

    >>> share(1, 3), share(1, 5000), share(4999, 5000), share(0, 7)
    ('33.3%', '<0.1%', '>99.9%', '0%')
    """
    if not whole or not part:
        return "0%"
    percent = 100 * part / whole
    if part < whole and percent > 99.9:  # noqa: PLR2004 - it would be rounded up
        return ">99.9%"
    return "<0.1%" if percent < 0.1 else f"{percent:.1f}".removesuffix(".0") + "%"  # noqa: PLR2004 - or down


def about(ms: float) -> str:
    """A duration as people say it, to three digits or so.

    >>> about(340), about(93_000), about(3_600_000), about(129_600_000), about(-5_400_000), about(0)
    ('340ms', '93s', '1h', '36h', '-90m', '0s')
    """
    sign, ms = ("-", -ms) if ms < 0 else ("", ms)
    if not ms:
        return "0s"
    for size, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s")):
        if ms % size == 0 or ms >= 2 * size:
            return f"{sign}{ms / size:.3g}{name}"
    return f"{sign}{ms:.3g}ms"


def events_text(sample: Sample, judged: JudgedEvents) -> list[str]:
    """About the events' topic."""
    return [
        f"events: {sample.told()}",
        *_head(judged),
        *(
            f"  {each.field}: {each.rule} broken by {share(each.count, judged.taken)} ({each.action})"
            for each in judged.rules
        ),
        *_refused(judged.refused, judged.seen),
        *(["", table([_column(each, judged.taken) for each in judged.columns])] if judged.taken else []),
    ]


def labels_text(sample: Sample, judged: JudgedLabels, pipeline: Pipeline) -> list[str]:
    """About the labels' topic."""
    return [
        f"labels: {sample.told()}",
        *_head(judged),
        *([f"  {_labels(judged.labels, pipeline)}"] if judged.taken else []),
        *_refused(judged.refused, judged.seen),
    ]


def met_text(met: Met, horizon: int) -> list[str]:
    """About labels and their events."""
    if not met.labels:
        return []
    found = f"{met.found:,} of {counted(met.labels, 'label')} find their event in the sample"
    lines = [f"{found} ({share(met.found, met.labels)})"]
    if met.found:
        middle, late = np.quantile(met.delays, [0.5, 0.99])
        lines.append(f"  half of these came within {about(middle)}, 99% within {about(late)}")
    if met.late:
        lines.append(f"  {met.late:,} came after the horizon of {show_duration(horizon)}: they will be late")
    if met.early:
        lines.append(f"  {met.early:,} are older than their event: is one of the times another one?")
    return lines


def told(judged: Judged, sample: Sample) -> dict[str, Any]:
    """What both topics have in common, for programs."""
    times = judged.times
    return {
        "topic": sample.topic,
        "partitions": sample.partitions,
        "whole": sample.whole,
        "hurried": sample.hurried,
        "seen": judged.seen,
        "accepted": judged.taken,
        "refused": [
            {
                "reason": why.reason,
                "field": why.field or None,
                "count": why.count,
                "origin": why.origin,
                "example": why.example,
            }
            for why in judged.refused
        ],
        "repeats": judged.repeats,
        "times": {"first": iso(int(times.min())), "last": iso(int(times.max()))} if len(times) else None,
    }


def told_columns(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Each feature, for programs."""
    return [
        {
            "feature": each.feature.name,
            "missing": each.missing,
            "broken": [
                {"rule": rule, "count": count, "action": action}
                for rule, (count, action) in each.broken.items()
            ],
            "unseen": dict(each.unseen),
            "words": dict(each.words),
            "numbers": None
            if each.numbers is None
            else dict(zip(("least", "median", "most"), each.numbers, strict=True)),
        }
        for each in columns
    ]


def told_met(met: Met) -> dict[str, Any]:
    """Labels and their events, for programs; delays in milliseconds."""
    quantiles = np.quantile(met.delays, [0.5, 0.99]).tolist() if met.found else [None, None]
    return {
        "labels": met.labels,
        "found": met.found,
        "late": met.late,
        "early": met.early,
        "delay": {"median": quantiles[0], "p99": quantiles[1]},
    }


def _head(judged: Judged) -> list[str]:
    if not judged.seen:
        return []
    refused = judged.seen - judged.taken
    taken = f"{judged.taken:,} would be accepted ({share(judged.taken, judged.seen)})"
    lines = [f"  {taken}, {refused:,} refused" if refused else f"  all {judged.taken:,} would be accepted"]
    if judged.taken:
        lines.append(f"  times from {iso(int(judged.times.min()))} to {iso(int(judged.times.max()))}")
    if judged.repeats:
        lines.append(f"  {counted(judged.repeats, 'record')} with the id of one before")
    return lines


def _refused(refused: Sequence[Why], seen: int) -> list[str]:
    if not refused:
        return []
    rows = [
        {
            "refused": why.reason,
            "field": why.field or None,
            "records": why.count,
            "share": share(why.count, seen),
            "first": why.origin,
            "for example": why.example,
        }
        for why in refused
    ]
    return ["", table(rows)]


def _column(column: Column, rows: int) -> dict[str, object]:
    """A feature in a line."""
    broken = [
        f"{rule} broken by {share(count, rows)} ({action.replace('_', ' ')})"
        for rule, (count, action) in column.broken.items()
    ]
    if column.unseen:
        words = ", ".join(word for word, _ in column.unseen)
        count = sum(count for _, count in column.unseen)
        broken.append(f"not in the list, {share(count, rows)}: {words}")
    return {
        "feature": column.feature.name,
        "missing": share(column.missing, rows),
        "values": _values(column, rows),
        "rules": "; ".join(broken) or None,
    }


def _values(column: Column, rows: int) -> str | None:
    if column.numbers is not None:
        least, middle, most = column.numbers
        return f"{least:.6g} … {middle:.6g} … {most:.6g}"
    if column.words:
        return ", ".join(f"{word} {share(count, rows)}" for word, count in column.words[:3])
    kind = column.feature.kind
    if isinstance(kind, TimePart):
        return kind.part.replace("_", " ")
    return None if isinstance(kind, Category) else "true or false"


def _labels(labels: NDArray[np.float64], pipeline: Pipeline) -> str:
    match pipeline.task:
        case "binary":
            return f"{share(int(labels.sum()), len(labels))} are positive"
        case "multiclass":
            counts = np.bincount(labels.astype(np.int64), minlength=len(pipeline.classes)).tolist()
            each = zip(pipeline.classes, counts, strict=True)
            return ", ".join(f"{name} {share(count, len(labels))}" for name, count in each)
        case "regression":
            return f"values {labels.min():.6g} … {np.median(labels):.6g} … {labels.max():.6g}"
