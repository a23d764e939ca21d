"""The result for people: a table of metrics, then what happened, then what was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from penstock.cli.output import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock.cli.backtest.result import Result

_NAMES: Final = {
    "system": "the system",
    "static": "its first trained version",
    "prior": "the prior",
    "no_change": "the last label",
}
_WORDS: Final = {
    "RetrainRequested": "retrain",
    "ShadowStarted": "shadow",
    "CanaryStarted": "canary",
    "CanaryAdvanced": "canary",
    "Promoted": "promoted",
    "RolledBack": "rolled back",
    "LaneChanged": "lane changed",
    "Rejected": "rejected",
    "Archived": "archived",
    "Alerted": "alert",
}


def as_text(result: Result, *, dated: bool) -> str:
    """All of it.

    Args:
        result: of the backtest.
        dated: whether the rows had times of their own.
    """
    lines = [
        f"{result.pipeline}: {result.rows:,} rows in {result.seconds:.1f} s, {result.scored:,} scored",
        "",
        table([_scores(name, metrics) for name, metrics in result.metrics.items()]),
        "",
        *_story(result, dated=dated),
    ]
    if result.versions:
        keys = ("version", "lane", "purpose", "algorithm", "verdict", "row", "trained_rows", "answered")
        lines += ["", table([{key: line[key] for key in keys} for line in result.versions])]
    lines += ["", table([_lane(line) for line in result.lanes])]
    return "\n".join(lines)


def _scores(name: str, metrics: Mapping[str, float | None]) -> dict[str, Any]:
    return {"": _NAMES[name], **{key: value for key, value in metrics.items() if _applies(key, metrics)}}


def _applies(key: str, metrics: Mapping[str, float | None]) -> bool:
    return key == "squared_error" or "squared_error" not in metrics


def _story(result: Result, *, dated: bool) -> list[str]:
    """One line for each decision and alarm, in their order."""
    told = [(line["row"], 1, _told(line, dated=dated)) for line in result.decisions]
    told += [
        (row, 0, ["alarm", "", "the champion is no longer what it was accepted as"]) for row in result.alarms
    ]
    if not told:
        return ["Nothing was decided: no training was due."]
    told.sort(key=lambda each: each[:2])
    lines = [[f"row {row:,}", *cells] for row, _, cells in told]
    widths = [max(len(line[place]) for line in lines) for place in range(3)]
    return [
        f"{line[0]:>{widths[0]}}  {line[1]:<{widths[1]}}  {line[2]:<{widths[2]}}  {line[3]}".rstrip()
        for line in lines
    ]


def _told(line: Mapping[str, Any], *, dated: bool) -> list[str]:
    version = "" if line["version"] is None else f"version {line['version']}"
    who = ", ".join(filter(None, [version, f"lane {line['lane']}" if line["lane"] else ""]))
    when = f" ({line['event_time']})" if dated else ""
    return [_WORDS.get(line["type"], line["type"]), who, line["reason"] + when]


def _lane(line: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("lane", "algorithm", "window", "every", "scored", "accuracy", "log_loss", "auc", "squared_error")
    told = {key: line.get(key) for key in keys if key != "squared_error" or "squared_error" in line}
    return {**told, "versions": len(line["versions"])}
