"""What is neither evidence nor decision, in a sentence: commands, trainings, versions, summaries."""

from __future__ import annotations

from typing import Final

from penstock.cli.telling.figures import offsets, span, version
from penstock.cli.telling.sentence import told
from penstock.cli.times import iso
from penstock.contracts import records as r

_GATES: Final = {
    r.Verdict.PASSED: "; the gate let it pass",
    r.Verdict.REFUSED: "; the gate refused it",
    r.Verdict.UNDECIDED: "; the gate had too little to judge by",
    r.Verdict.NONE: "",
}


@told.register
def _(applied: r.PipelineApplied) -> str:
    return f"the pipeline {applied.pipeline} was applied ({applied.digest[:12]})"


@told.register
def _(command: r.PromoteVersion) -> str:
    at_once = ", at once" if command.force else ""
    return _asked(command, f"version {command.version} to become the champion{at_once}")


@told.register
def _(command: r.RollBack) -> str:
    return _asked(command, "the former champion back")


@told.register
def _(command: r.HoldPipeline) -> str:
    return _asked(command, "nothing to be decided any more")


@told.register
def _(command: r.ResumePipeline) -> str:
    return _asked(command, "decisions to be made again")


@told.register
def _(command: r.SplitTraffic) -> str:
    if command.version is None:
        return _asked(command, "the split of the traffic to end")
    return _asked(command, f"version {command.version} to answer {command.share * 100:g}% of the ids")


@told.register
def _(event: r.VersionRegistered) -> str:
    who = version(event.version, event.lane)
    if event.stage is r.VersionStage.REFUSED:
        return f"{who} cannot be served"
    first = " as the first champion" if event.stage is r.VersionStage.CHAMPION else ""
    return f"{who} was taken in{first}{_GATES[event.verdict]}"


@told.register
def _(event: r.VersionStaged) -> str:
    return f"version {event.version} is {event.stage.lower()} from now on"


@told.register
def _(candidate: r.CandidateTrained) -> str:
    made = candidate.manifest
    if made.purpose is r.Purpose.BASELINE:
        return f"a version of lane {made.lane} was made, which has learned nothing yet"
    rows = f"{made.rows:,} rows, {span(made.since, made.cut)}"
    return f"a version of lane {made.lane} was made by {made.algorithm} from {rows}"


@told.register
def _(_: r.JobCompleted) -> str:
    return "the training is done"


@told.register
def _(_: r.JobFailed) -> str:
    return "the training came to nothing"


@told.register
def _(summary: r.Summary) -> str:
    both = (("predictions", summary.predictions), ("outcomes", summary.outcomes))
    read = " and ".join(
        f"{offsets(each.start, each.end)} of {summary.pipeline}.{topic}/{summary.partition}"
        for topic, each in both
        if each.end > each.start
    )
    reached = "" if summary.watermark is None else f"; event time has come to {iso(summary.watermark)}"
    return f"summary {summary.sequence:,} of partition {summary.partition}: {read or 'nothing new'}{reached}"


def _asked(
    command: r.PromoteVersion | r.RollBack | r.HoldPipeline | r.ResumePipeline | r.SplitTraffic, what: str
) -> str:
    return f"{command.operator or 'somebody'} asked for {what}, at {iso(command.time)} by the clock"
