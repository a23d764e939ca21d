"""The proposal as YAML for the file, as a report for the terminal, and as plain values for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from penstock.cli.output import counted
from penstock.cli.propose.delays import bins_of
from penstock.cli.propose.document import commented, flow, line, scalar
from penstock.cli.propose.histogram import draw
from penstock.cli.propose.proposal import Proposal, spread
from penstock.cli.sampled.telling import about, share
from penstock.cli.times import iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.cli.propose.delays import Delays
    from penstock.cli.propose.fields import Field
    from penstock.cli.propose.sources import Source

_OTHERS: Final = 3
"""Candidates beside the chosen one that a comment names."""
_WIDEST: Final = 100


def as_yaml(proposal: Proposal) -> str:
    """The pipeline file."""
    raw = proposal.raw()
    lines = [
        commented(f"Proposed by penstock init from {proposal.events.sample.told()}"),
        commented(f"and {proposal.labels.sample.told()}. Read it before you apply it:"),
        commented("  penstock check THIS_FILE --sample 1000    what of the topics would be accepted"),
        commented("  penstock apply THIS_FILE"),
        line("pipeline", raw["pipeline"], indent=0),
        line("task", raw["task"], "binary, multiclass or regression", indent=0),
    ]
    if proposal.classes:
        lines.append(line("classes", proposal.classes, indent=0))
    lines += ["", "events:", *_events(proposal, raw["events"])]
    lines += ["", "labels:", *_labels(proposal, raw["labels"])]
    lines += ["", "features:"]
    lines += [line(each.name, each.kind, each.note) for each in proposal.features]
    if proposal.left:
        lines += [commented("Left out:", indent=2)]
        lines += [commented(f"  {each.path}: {each.why}", indent=2) for each in proposal.left]
    if proposal.personal:
        lines += ["", commented("Addresses of mail: with drop, nothing of them is written.")]
        lines += ["pii:", *(line(path, "drop") for path in proposal.personal)]
    return "\n".join(lines) + "\n"


def _events(proposal: Proposal, raw: dict[str, Any]) -> list[str]:
    source, ids = proposal.events, proposal.id
    notes = {
        "format": _strangers(source),
        "id": _id_note(proposal),
        "time": _time_note(source.fields[proposal.event_times[0]], proposal.event_times[1:]),
    }
    assert ids.events == raw["id"]  # noqa: S101 - they are one
    return [line(key, value, notes.get(key, "")) for key, value in raw.items()]


def _labels(proposal: Proposal, raw: dict[str, Any]) -> list[str]:
    source = proposal.labels
    notes = {
        "format": _strangers(source),
        "time": _time_note(source.fields[proposal.label_times[0]], proposal.label_times[1:]),
        "value": spread(proposal.value) + _others(proposal.values[1:]),
        "horizon": _horizon_note(proposal),
    }
    lines = [line(key, value, notes.get(key, "")) for key, value in raw.items()]
    if proposal.task == "regression":
        at = float(np.quantile(proposal.value.numbers, 0.8))
        hint = f'For a yes or no: task: binary, and here positive: ">= {at:.6g}"'
        lines.insert(-1, commented(hint, indent=2))
    return lines


def _id_note(proposal: Proposal) -> str:
    ids = proposal.id
    unique = "unique" if ids.unique >= 1 else f"{_percent(ids.unique)} of the rows have one of their own"
    found = f"{_percent(ids.shared)} of the labels' are among them" if ids.shared else "no label here has one"
    others = [pair.events for pair in proposal.ids[1:] if pair.events != ids.events]
    return f"{unique}; {found}{_others(others)}"


def _percent(part: float) -> str:
    return share(round(part * 100_000), 100_000)


def _time_note(field: Field, others: Sequence[str]) -> str:
    assert field.times is not None  # noqa: S101 - it is a candidate
    known = field.times[field.times >= 0]
    told = f"{iso(int(known.min()))} to {iso(int(known.max()))}"
    return told + _others(others)


def _horizon_note(proposal: Proposal) -> str:
    delays = proposal.delays
    if proposal.guessed_horizon:
        found = counted(len(delays.delays), "label")
        return f"a guess: only {found} found an event in the sample; how late may one come?"
    told = f"99% came within {about(delays.quantile(0.99))}, half within {about(delays.quantile(0.5))}"
    hidden = f"; the sample hides delays beyond {about(delays.longest)}" if delays.cut_short else ""
    return told + hidden


def _strangers(source: Source) -> str:
    others = source.guess.others
    return f"written otherwise: {counted(others, 'record')} of the sample" if others else ""


def _others(names: Sequence[str]) -> str:
    found = list(dict.fromkeys(names))[:_OTHERS]
    return f"; or {', '.join(map(scalar, found))}" if found else ""


def report(proposal: Proposal, *, width: int, colour: bool, plain: bool) -> list[str]:
    """What the person at the terminal sees: the delays, and what to look at."""
    delays = proposal.delays
    lines = [
        f"{source.sample.told()}: {_format(source)}, {counted(len(source.fields), 'field')}"
        for source in (proposal.events, proposal.labels)
    ]
    if delays.labels:
        found = share(delays.found, delays.labels)
        lines += ["", f"{delays.found:,} of {counted(delays.labels, 'label')} find their event ({found})"]
    if len(delays.delays):
        drawn = _histogram(delays, proposal.horizon, width, colour=colour, plain=plain)
        old = len(delays.delays) < delays.found - delays.early
        which = f", for {len(delays.delays):,} events old enough to know" if old else ""
        lines += [f"delay of the labels{which}:", *drawn]
    if delays.early:
        lines.append(f"{delays.early:,} are older than their event: is one of the times another one?")
    if delays.cut_short:
        hidden = f"delays beyond {about(delays.longest)} cannot be seen in this sample"
        lines.append(f"{hidden}: --sample takes a larger one")
    if proposal.guessed_horizon:
        lines.append("too few labels find their event to say how late they come: the horizon is a guess")
    return lines


def _histogram(delays: Delays, horizon: int, width: int, *, colour: bool, plain: bool) -> list[str]:
    marks = [
        (delays.quantile(0.5), "half"),
        (delays.quantile(0.99), "99%"),
        (float(horizon - 1), "horizon"),
    ]
    return draw(bins_of(delays.delays), width=min(width, _WIDEST), marks=marks, colour=colour, plain=plain)


def _format(source: Source) -> str:
    said = flow(source.raw)
    return said if source.guess.envelope == "none" else f"{said} ({source.guess.envelope})"


def told(proposal: Proposal) -> dict[str, Any]:
    """For programs; delays in milliseconds."""
    delays = proposal.delays
    return {
        "pipeline": proposal.raw(),
        "yaml": as_yaml(proposal),
        "ids": [
            {"events": each.events, "labels": each.labels, "unique": each.unique, "shared": each.shared}
            for each in proposal.ids
        ],
        "event_times": proposal.event_times,
        "label_times": proposal.label_times,
        "values": proposal.values,
        "features": {each.name: each.note for each in proposal.features},
        "left_out": {each.path: each.why for each in proposal.left},
        "delays": {
            "labels": delays.labels,
            "found": delays.found,
            "early": delays.early,
            "counted": len(delays.delays),
            "median": delays.quantile(0.5) if len(delays.delays) else None,
            "p99": delays.quantile(0.99) if len(delays.delays) else None,
            "longest_visible": delays.longest,
            "bins": [
                {"from": each.start, "to": each.end, "count": each.count} for each in bins_of(delays.delays)
            ],
        },
        "horizon": proposal.horizon,
    }
