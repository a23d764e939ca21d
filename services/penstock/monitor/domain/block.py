"""Blocks of event time as the monitor keeps them: sums over partitions, kinds and parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

from penstock.contracts.records import Origin, OutcomeKind, TimeBlock
from penstock.kernel.accepted import NO_LABELS, LabelSums


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Labelled rows that the same versions scored.

    Args:
        versions: in ascending order.
        labels: of the rows.
        losses: sums, one a version.
    """

    versions: tuple[int, ...]
    labels: LabelSums
    losses: tuple[float, ...]

    @property
    def rows(self) -> int:
        return self.labels.rows

    def plus(self, other: Group) -> Group:
        """Both; they have the same versions."""
        return Group(
            versions=self.versions,
            labels=self.labels.plus(other.labels),
            losses=tuple(one + two for one, two in zip(self.losses, other.losses, strict=True)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """How a version did on some rows."""

    labels: LabelSums
    loss: float
    """sum"""

    @property
    def rows(self) -> int:
        return self.labels.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What a stretch of event time came to: a base block, or a unit of evidence made of several.

    Args:
        start: event time, milliseconds.
        end: the same; it is not in the block any more.
        unlabelled: rows whose label did not come in time.
        groups: the rows with a label, in ascending order of versions.
    """

    start: int
    end: int
    unlabelled: int = 0
    groups: tuple[Group, ...] = ()

    @property
    def rows(self) -> int:
        """With a label."""
        return sum(group.rows for group in self.groups)

    def plus(self, other: Block) -> Block:
        """The stretch from the earlier start to the later end, and what both came to."""
        groups = {group.versions: group for group in self.groups}
        for group in other.groups:
            before = groups.get(group.versions)
            groups[group.versions] = group if before is None else before.plus(group)
        return Block(
            start=min(self.start, other.start),
            end=max(self.end, other.end),
            unlabelled=self.unlabelled + other.unlabelled,
            groups=tuple(groups[versions] for versions in sorted(groups)),
        )

    def judged(self, version: int) -> Judged:
        """How a version did, on the rows it scored."""
        mine = [group for group in self.groups if version in group.versions]
        return Judged(
            labels=reduce(LabelSums.plus, (group.labels for group in mine), NO_LABELS),
            loss=sum(group.losses[group.versions.index(version)] for group in mine),
        )

    def apart(self, version: int, other: int) -> tuple[int, float]:
        """On how many rows both scored, and by how much the first one's loss is greater, in sum."""
        both = [group for group in self.groups if version in group.versions and other in group.versions]
        return sum(group.rows for group in both), sum(
            group.losses[group.versions.index(version)] - group.losses[group.versions.index(other)]
            for group in both
        )


def parts(time_blocks: Iterable[TimeBlock]) -> Iterable[Block]:
    """The first verdicts on rows of the stream: a revision corrects metrics, never evidence."""
    for part in time_blocks:
        if part.origin is not Origin.STREAM or part.kind is OutcomeKind.REVISED:
            continue
        block = Block(start=part.start, end=part.start + part.length)
        if part.kind is OutcomeKind.LABELLED:
            labels = LabelSums(rows=part.rows, total=part.labels, squares=part.squares, counts=part.counts)
            group = Group(versions=part.versions, labels=labels, losses=part.losses)
            yield Block(start=block.start, end=block.end, groups=(group,))
        else:
            yield Block(start=block.start, end=block.end, unlabelled=part.rows)
