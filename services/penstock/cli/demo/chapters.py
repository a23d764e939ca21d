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
        "of days": f"{max(line['since_day'] or 0, 0):.0f}–{line['cut_day']:.0f}" if learned else None,
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

    @property
    def steps(self) -> bool:
        """They are the steps of one challenger."""
        version = self.lines[0]["version"]
        return all(line["type"] in _STEPS and line["version"] == version for line in self.lines)

    def takes(self, line: Line) -> bool:
        if self.lines[-1]["day"] == line["day"] and line["day"] is not None:
            return not self.steps or line["version"] == self.lines[-1]["version"]
        return _Group([*self.lines, line]).steps


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
    if len(group.lines) > 1 and group.steps:
        kinds[", ".join(dict.fromkeys(line["type"] for line in group.lines))] = [_subject(last)]
    else:
        for line in group.lines:
            kinds.setdefault(line["type"], []).append(_subject(line))
    what = "; ".join(f"{kind} {', '.join(who)}".rstrip() for kind, who in kinds.items())
    return f"{when:<12}  {last['id'][:PREFIX]}  {what}: {'; '.join(_reasons(group))}"


def _reasons(group: _Group) -> list[str]:
    """Why, each reason once, whatever lane it names; of a challenger's steps the last one says it."""
    found: dict[str, str] = {}
    for line in group.lines:
        last = line is group.lines[-1] and (group.steps or len(group.lines) == 1)
        if last or line["type"] not in {*_STEPS, "ShadowStarted"}:
            reason = line["reason"] or line["said"]
            found.setdefault(reason.replace(str(line["lane"]), "…"), reason)
    if "lane … is due" in found:
        found["lane … is due"] = "due"
    return list(found.values())


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
