"""What the governor reads, and what it writes."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.contracts import records as r

Evidence = (
    r.Heartbeat
    | r.PerformanceDegraded
    | r.PerformanceRecovered
    | r.LanesCompared
    | r.VersionsCompared
    | r.QualityMeasured
    | r.DriftWarned
    | r.DriftCleared
    | r.HoleFound
)
Command = r.PromoteVersion | r.RollBack | r.HoldPipeline | r.ResumePipeline | r.SplitTraffic
Fact = (
    r.PipelineApplied
    | r.VersionRegistered
    | r.VersionStaged
    | r.JobCompleted
    | r.JobFailed
    | Evidence
    | Command
)
Routing = (
    r.ShadowStarted
    | r.CanaryStarted
    | r.CanaryAdvanced
    | r.Promoted
    | r.RolledBack
    | r.LaneChanged
    | r.Rejected
    | r.Archived
    | r.ApprovalRequested
    | r.TrafficSplit
)
Notice = r.Approved | r.Held | r.Resumed | r.Alerted
Decision = r.BaselineRequested | r.RetrainRequested | Routing | Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a fact stands in the log, so that nothing else in the world has the same name."""

    cluster: str
    topic_id: str
    source: r.Source
    timestamp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """Evidence that came while a training was under way, and where it is written."""

    fact: Evidence
    place: Place
