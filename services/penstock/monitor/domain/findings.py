"""What was found and is not yet said: evidence waits for the end of a block, which dates it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from penstock.contracts.records import (
    DriftCleared,
    DriftWarned,
    Heartbeat,
    HoleFound,
    LanesCompared,
    PerformanceDegraded,
    PerformanceRecovered,
    QualityMeasured,
    Source,
    VersionsCompared,
)
from penstock.kernel.chain import derived_id

Evidence = (
    Heartbeat
    | PerformanceDegraded
    | PerformanceRecovered
    | LanesCompared
    | VersionsCompared
    | QualityMeasured
    | DriftWarned
    | DriftCleared
    | HoleFound
)

_KINDS: Final[dict[str, type[Evidence]]] = {
    kind.__name__: kind
    for kind in (
        *(PerformanceDegraded, PerformanceRecovered, LanesCompared, VersionsCompared, QualityMeasured),
        *(DriftWarned, DriftCleared, HoleFound),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Evidence but for its place in time.

    Args:
        kind: name of the record.
        about: the version, feature, lane or partition, for the id.
        fields: of the record, those that are the kind's own.
        cause: the summary that completed it.
    """

    kind: str
    about: str
    fields: Mapping[str, int | float | str]
    cause: Source


def told(findings: Iterable[Finding], *, pipeline: str, time: int, ordinal: int) -> list[Evidence]:
    """The findings as evidence of one event time, numbered from an ordinal on."""
    return [
        _KINDS[finding.kind](
            id=derived_id(pipeline, finding.kind, finding.about, time, number),
            pipeline=pipeline,
            ordinal=number,
            time=time,
            causes=(finding.cause,),
            **finding.fields,  # type: ignore[arg-type] # as whoever found it has them
        )
        for number, finding in enumerate(findings, ordinal)
    ]
