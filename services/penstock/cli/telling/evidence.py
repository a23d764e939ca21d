"""Evidence in a sentence, with the numbers that were compared."""

from __future__ import annotations

from penstock.cli.telling.figures import difference, e_value, span, version
from penstock.cli.telling.sentence import told
from penstock.cli.times import iso
from penstock.contracts import records as r


@told.register
def _(beat: r.Heartbeat) -> str:
    return f"everything up to {iso(beat.sealed)} is sealed and judged, {beat.rows:,} rows with a label so far"


@told.register
def _(alarm: r.PerformanceDegraded) -> str:
    return (
        f"{version(alarm.version, alarm.lane)} fails since {iso(alarm.onset)}: mean loss {alarm.loss:.4f} on"
        f" {alarm.blocks} blocks, accepted with {alarm.accepted:.4f}; e-detector at {alarm.statistic:.4g},"
        f" alarm at {alarm.threshold:.4g}"
    )


@told.register
def _(over: r.PerformanceRecovered) -> str:
    return f"the alarm of {version(over.version, over.lane)} is over: e-detector at {over.statistic:.4g}"


@told.register
def _(seen: r.LanesCompared) -> str:
    return f"lane {seen.lane} against the champion's lane, {seen.against_lane}: {_compared(seen)}"


@told.register
def _(seen: r.VersionsCompared) -> str:
    who, champion = version(seen.version, seen.lane), version(seen.against, seen.against_lane)
    return f"{who} against the champion, {champion}: {_compared(seen)}"


@told.register
def _(quality: r.QualityMeasured) -> str:
    return (
        f"{version(quality.version, quality.lane)} has a mean loss of {quality.loss:.4f} on {quality.rows:,}"
        f" rows from {span(quality.start, quality.end)}; {quality.unlabelled:,} rows never got a label"
    )


@told.register
def _(moved: r.DriftWarned) -> str:
    return (
        f"feature {moved.feature} moved: the {moved.statistic} of its row blocks went from"
        f" {moved.before:+.3f} to {moved.after:+.3f}, standardised by the profile of version {moved.version},"
        f" at row block {moved.row:,}"
    )


@told.register
def _(back: r.DriftCleared) -> str:
    return f"the {back.statistic} of feature {back.feature} is where version {back.version} knew it"


@told.register
def _(hole: r.HoleFound) -> str:
    what = "are missing" if hole.found > hole.expected else "came twice"
    return (
        f"summaries of partition {hole.partition} {what}: expected number {hole.expected:,},"
        f" found {hole.found:,}"
    )


def _compared(seen: r.LanesCompared | r.VersionsCompared) -> str:
    clipped = f", {seen.clipped} of them clipped" if seen.clipped else ""
    return (
        f"mean difference of loss {difference(seen.mean)} by row (moving average {difference(seen.ewma)})"
        f" on {seen.rows:,} rows in {seen.blocks} blocks since {iso(seen.since)}{clipped};"
        f" e-value better {e_value(seen.better)}, worse {e_value(seen.worse)}"
    )
