"""How good each version was on each day of event time."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.contracts.records import QualityMeasured, Source
from penstock.monitor.domain.block import Block
from penstock.monitor.domain.findings import Finding
from penstock.monitor.domain.versions import Counting


def measured(block: Block, counting: Mapping[int, Counting], cause: Source) -> list[Finding]:
    """Of every version that counted on all of the block and scored a row with a label in it."""
    findings = []
    for version, each in counting.items():
        judged = block.judged(version)
        if judged.rows:
            findings.append(
                Finding(
                    kind=QualityMeasured.__name__,
                    about=str(version),
                    fields={
                        "version": version,
                        "lane": each.life.lane,
                        "start": block.start,
                        "end": block.end,
                        "rows": judged.rows,
                        "unlabelled": block.unlabelled,
                        "loss": judged.loss / judged.rows,
                        "labels": judged.labels.total / judged.rows,
                    },
                    cause=cause,
                )
            )
    return findings
