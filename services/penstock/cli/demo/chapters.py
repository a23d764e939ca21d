"""The loop's part of the report, for people: versions, decisions with their causes, how good it was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from penstock.cli.decisions import PREFIX
from penstock.cli.output import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from penstock.cli.demo.quality import Quality

    Line = Mapping[str, Any]

_STEPS: Final = ("CanaryStarted", "CanaryAdvanced", "Promoted")
_NAMES: Final = {
    "system": "the system",
    "static": "the first trained version, for ever",
    "prior": "the share of delays known so far",
    "baseline": "version 0",
}


def versions_text(versions: Sequence[Line]) -> str:
    """A line for each version: what it was made from, and who made it champion."""
    return table([_version(line) for line in versions]) if versions else "no versions"


def _version(line: Line) -> dict[str, object]:
    learned = line["algorithm"] is not None and line["cut_day"] is not None
    crowned = [f"day {each['day']:.1f} by {each['by']}" for each in line["champion"] if each["day"]]
    return {
        "version": line["version"],
        "lane": line["lane"],
        "made by": line["algorithm"],
        "rows": line["rows"] if learned else None,
        "of days": f"{line['since_day'] or 0:.0f}–{line['cut_day']:.0f}" if learned else None,
        "gate": None if line["verdict"] == "none" else line["verdict"],
        "champion since": "; ".join(crowned) or ("the beginning" if line["champion"] else None),
    }


def decisions_text(decisions: Sequence[Line]) -> str:
    """Decisions with their causes; those of one moment, and a challenger's steps, share a line.

    >>> head = {"lane": "x", "version": 1, "reason": "r", "said": "s"}
    >>> steps = [
    ...     {**head, "id": f"{number}" * 9, "type": kind, "day": 30.0 + number}
    ...     for number, kind in enumerate(("ShadowStarted", "CanaryStarted", "Promoted"))
    ... ]
    >>> print(decisions_text(steps))
      30.0        00000000  ShadowStarted 1 (x): r
      31.0– 32.0  22222222  CanaryStarted, Promoted 1 (x): r
    """
    return "\n".join(_group(each) for each in _grouped(decisions))


@dataclass(slots=True)
class _Group:
    """Decisions that are told in one line."""

    lines: list[Line] = field(default_factory=list)

    def takes(self, line: Line) -> bool:
        last = self.lines[-1]
        if last["day"] == line["day"] and line["day"] is not None:
            return True
        one = last["version"] == line["version"] is not None
        return one and all(each["type"] in _STEPS for each in (*self.lines, line))


def _grouped(decisions: Iterable[Line]) -> list[_Group]:
    groups: list[_Group] = []
    for line in decisions:
        if groups and groups[-1].takes(line):
            groups[-1].lines.append(line)
        else:
            groups.append(_Group([line]))
    return groups


def _group(group: _Group) -> str:
    first, last = group.lines[0], group.lines[-1]
    when = "" if first["day"] is None else f"{first['day']:6.1f}"
    if last["day"] != first["day"]:
        when += f"–{last['day']:5.1f}"
    kinds: dict[str, list[str]] = {}
    if all(line["type"] in _STEPS for line in group.lines) and len(group.lines) > 1:
        kinds[", ".join(dict.fromkeys(line["type"] for line in group.lines))] = [_subject(last)]
    else:
        for line in group.lines:
            kinds.setdefault(line["type"], []).append(_subject(line))
    what = "; ".join(f"{kind} {', '.join(who)}".rstrip() for kind, who in kinds.items())
    reasons = dict.fromkeys(line["reason"] or line["said"] for line in group.lines if _telling(line, group))
    return f"{when:<12}  {last['id'][:PREFIX]}  {what}: {'; '.join(reasons)}"


def _telling(line: Line, group: _Group) -> bool:
    """Whether the reason of a line says why: of a challenger's steps the last one does."""
    return line is group.lines[-1] or line["type"] not in {*_STEPS, "ShadowStarted"}


def _subject(line: Line) -> str:
    if line["version"] is None:
        return line["lane"] or ""
    return f"{line['version']} ({line['lane']})"


def quality_text(quality: Quality) -> str:
    """Log loss and AUC of everybody, on the same rows."""
    rows = [
        {"on the same rows": said, "log loss": quality.log_loss[name], "AUC": quality.auc[name]}
        for name, said in _NAMES.items()
    ]
    return table(rows)
