"""Decisions in a sentence."""

from __future__ import annotations

from penstock.cli.telling.figures import span, version
from penstock.cli.telling.sentence import told
from penstock.contracts import records as r


@told.register
def _(_: r.BaselineRequested) -> str:
    return "version 0 is to be built, so that there is an answer from the first day on"


@told.register
def _(decision: r.RetrainRequested) -> str:
    rows = span(decision.since, decision.cut)
    return f"a version of lane {decision.lane} is to be trained, on rows from {rows}"


@told.register
def _(decision: r.ShadowStarted) -> str:
    return f"{version(decision.version, decision.lane)} scores every row and answers none"


@told.register
def _(decision: r.CanaryStarted) -> str:
    return f"{version(decision.version, decision.lane)} answers a first {decision.route.share:.0%} of the ids"


@told.register
def _(decision: r.CanaryAdvanced) -> str:
    return f"{version(decision.version, decision.lane)} answers {decision.route.share:.0%} of the ids now"


@told.register
def _(decision: r.Promoted) -> str:
    return f"{version(decision.version, decision.lane)} becomes the champion"


@told.register
def _(decision: r.RolledBack) -> str:
    fallen = decision.numbers.get("fallen")
    instead = "" if fallen is None else f" instead of version {fallen:.0f}"
    return f"{version(decision.version, decision.lane)} is the champion again{instead}"


@told.register
def _(decision: r.LaneChanged) -> str:
    return f"lane {decision.lane} is to take over: its version {decision.version} becomes the challenger"


@told.register
def _(decision: r.Rejected) -> str:
    return f"{version(decision.version, decision.lane)} is given up"


@told.register
def _(decision: r.Archived) -> str:
    return f"{version(decision.version, decision.lane)} is no longer scored"


@told.register
def _(decision: r.ApprovalRequested) -> str:
    return f"{version(decision.version, decision.lane)} waits for somebody to agree"


@told.register
def _(decision: r.TrafficSplit) -> str:
    if decision.version is None:
        return "no version has a share of its own any more"
    share = f"{decision.route.split_share * 100:g}%"
    return f"{version(decision.version, decision.lane)} answers {share} of the ids until told otherwise"


@told.register
def _(decision: r.Approved) -> str:
    return f"version {decision.version} is agreed to"


@told.register
def _(_: r.Held) -> str:
    return "nothing is decided until somebody resumes"


@told.register
def _(_: r.Resumed) -> str:
    return "the loop goes on"


@told.register
def _(_: r.Alerted) -> str:
    return "somebody should look at this"
