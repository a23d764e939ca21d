"""What the loop did, as its topics tell it: versions, decisions with their causes, alarms, the take-back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from penstock.cli.causes import Chains, tree
from penstock.cli.decisions import PREFIX, listed
from penstock.cli.demo.flights import day_of
from penstock.cli.demo.operator import is_forced
from penstock.cli.model_history import history
from penstock.contracts import records as r

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from penstock.cli.controllog import ControlLog, Entry
    from penstock.kernel.pipeline import Pipeline

    Line = Mapping[str, Any]

_DIGITS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The way of the loop.

    Args:
        versions: one line each, with what it was made from and who made it champion.
        decisions: one line each, in their order.
        alarms: of the champion of the time.
        first: the first trained version; None where there was none.
        went_the_whole_way: a trained version was shadow, canary and, by that, champion.
        forced: somebody forced a version.
        taken_back: and the former champion was restored.
        why: the command that explains the take-back, or else the last promotion; empty where there was none.
        explained: what it prints.
    """

    versions: Sequence[Line]
    decisions: Sequence[Line]
    alarms: Sequence[Line]
    first: int | None
    went_the_whole_way: bool
    forced: bool
    taken_back: bool
    why: str = ""
    explained: str = ""


def course(log: ControlLog, pipeline: Pipeline) -> Course:
    """What the control topics say of a pipeline."""
    entries = log.all("decisions")
    decisions = [entry.event for entry in entries]
    shadows = [each.version for each in decisions if isinstance(each, r.ShadowStarted)]
    asked_for = _to_explain(entries)
    return Course(
        versions=_versions(log, pipeline.name),
        decisions=[
            {**line, "day": _day(entry.event.event_time)}
            for line, entry in zip(listed(log, pipeline.name), entries, strict=True)
        ],
        alarms=_alarms(log, decisions),
        first=shadows[0] if shadows else None,
        went_the_whole_way=any(_whole_way(decisions, version) for version in dict.fromkeys(shadows)),
        forced=any(map(is_forced, decisions)),
        taken_back=_taken_back(decisions),
        why="" if asked_for is None else f"penstock why {asked_for.event.id[:PREFIX]}",
        explained="" if asked_for is None else _explained(log, pipeline, asked_for),
    )


def _whole_way(decisions: Sequence[Any], version: int) -> bool:
    """Whether the version was shadow, then canary, then champion, in this order."""
    way = iter(decisions)
    return all(
        any(isinstance(each, kind) and each.version == version and not is_forced(each) for each in way)
        for kind in (r.ShadowStarted, r.CanaryStarted, r.Promoted)
    )


def _taken_back(decisions: Sequence[Any]) -> bool:
    """Whether what somebody forced was taken back."""
    forced = [place for place, each in enumerate(decisions) if is_forced(each)]
    return bool(forced) and any(
        isinstance(each, r.RolledBack) and each.numbers.get("fallen") == decisions[forced[-1]].version
        for each in decisions[forced[-1] :]
    )


def _to_explain(entries: Sequence[Entry[Any]]) -> Entry[Any] | None:
    """The take-back; where there was none, the last promotion."""
    for kind in (r.RolledBack, r.Promoted):
        found = [entry for entry in entries if isinstance(entry.event, kind)]
        if found:
            return found[-1]
    return None


def _explained(log: ControlLog, pipeline: Pipeline, entry: Entry[Any]) -> str:
    needed = {pipeline.policy_digest: 1 / pipeline.policy.compare.level}
    return "\n".join(tree(Chains(log, needed).of(entry), log.names.prefix))


def _versions(log: ControlLog, pipeline: str) -> list[Line]:
    manifests = {entry.event.version: entry.event.manifest for entry in log.of("models", r.ModelRegistered)}
    crowned: dict[int, list[Line]] = {}
    days = {entry.event.id: _day(entry.event.event_time) for entry in log.all("decisions")}
    for line in history(log, pipeline):
        for effect in line["effects"]:
            if effect["stage"] == "champion":
                by = {"id": line["id"], "type": line["type"], "day": days.get(line["id"]), "by": line["by"]}
                crowned.setdefault(effect["version"], []).append(by)
    lines: list[Line] = []
    for entry in log.of("lifecycle", r.VersionRegistered):
        event, manifest = entry.event, manifests.get(entry.event.version)
        lines.append(
            {
                "version": event.version,
                "lane": event.lane,
                "purpose": event.purpose.lower(),
                "algorithm": None if manifest is None else manifest.algorithm,
                "rows": None if manifest is None else manifest.rows,
                "since_day": None if manifest is None else _day(manifest.since),
                "cut_day": _day(event.cut),
                "asked_day": _day(event.asked),
                "verdict": event.verdict.lower(),
                "champion": crowned.get(event.version, []),
            }
        )
    return lines


def _alarms(log: ControlLog, decisions: Sequence[Any]) -> list[Line]:
    """An alarm is the champion's: what is known of shadows warns nobody."""
    crowned = [
        (each.event_time, each.route.champion)
        for each in decisions
        if each.event_time is not None and hasattr(each, "route")
    ]
    found: list[Line] = []
    for entry in log.evidence():
        alarm = entry.event
        if not isinstance(alarm, r.PerformanceDegraded):
            continue
        # What was decided at this very time was decided knowing of the alarm.
        before = [champion for time, champion in crowned if time < alarm.time]
        if before and before[-1] == alarm.version:
            found.append(
                {
                    "id": alarm.id,
                    "version": alarm.version,
                    "lane": alarm.lane,
                    "day": _day(alarm.time),
                    "onset_day": _day(alarm.onset),
                }
            )
    return found


def _day(time: int | None) -> float | None:
    return None if time is None else round(day_of(time), _DIGITS)
