"""Does each feature stay where it was when the champion learned? Row blocks, standardised by its profile.

The mean of a row block's values, and that of their squares, are standardised by what they were over the row
blocks of the champion's reference profile: there they have mean 0 and spread 1, with all the autocorrelation
and all the tails there were. Single values are never looked at: on them ADWIN takes every season for a change
(36 alarms in 10,000 rows, here none).

Row blocks have no event time: they are taken in the order of the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import numpy as np

from penstock.contracts.records import DriftCleared, DriftWarned, Manifest, Profile, RowBlock, Source
from penstock.kernel.blocks import ROWS
from penstock.kernel.kinds import Category
from penstock.kernel.pipeline import Pipeline
from penstock.monitor.domain.channels import STATISTICS, Change, Channels, Value, begun, followed
from penstock.monitor.domain.findings import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

DELTA: Final = 0.002
"""Of all channels of a pipeline together."""
_FARTHEST = 10.0  # a statistic further out counts as so far: it is beyond doubt, and stays finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a version was accepted on.

    Args:
        layout: digest of the features.
        names: of them, in order.
        profile: one number a feature in each array.
    """

    layout: str
    names: tuple[str, ...]
    profile: Profile

    @classmethod
    def of(cls, manifest: Manifest) -> Reference | None:
        """Of a model; the baseline has none."""
        if manifest.profile is None:
            return None
        return cls(layout=manifest.layout, names=manifest.features, profile=manifest.profile)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A row block of one partition, as far as it is known."""

    block: int
    layout: str
    rows: int
    present: tuple[int, ...]
    sums: tuple[float, ...]
    squares: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What is known of the features of a pipeline.

    Args:
        version: whose profile is the reference; None before there is one.
        parts: by partition.
        channels: by feature.
    """

    version: int | None = None
    parts: Mapping[int, Part] = field(default_factory=dict)
    channels: Mapping[str, Channels] = field(default_factory=dict)


def drifted(
    drift: Drift,
    row_blocks: Sequence[RowBlock],
    partition: int,
    pipeline: Pipeline,
    *,
    version: int | None,
    reference: Reference | None,
    cause: Source,
) -> tuple[Drift, list[Finding]]:
    """What more rows of a partition say.

    Args:
        drift: what is known; nothing of it is changed.
        row_blocks: parts of row blocks, in order.
        partition: theirs.
        pipeline: as applied.
        version: the champion.
        reference: its own; None where it has none.
        cause: the summary.
    """
    if version is None or reference is None:
        return Drift(), []
    if drift.version != version:
        # Another reference: the windows begin anew, and episodes end with the version they were of.
        drift = Drift(version=version, parts=drift.parts)
    if not row_blocks:
        return drift, []
    part, whole = _merged(drift.parts.get(partition), row_blocks)
    parts = {where: each for where, each in drift.parts.items() if where != partition}
    drift = replace(drift, parts=parts if part is None else {**parts, partition: part})
    whole = [each for each in whole if each.layout == reference.layout]
    if not whole:
        return drift, []
    columns = _watched(pipeline, reference)
    delta = DELTA / max(len(STATISTICS) * len(columns), 1)
    means, squares = standardised(whole, reference.profile)
    channels: dict[str, Channels] = {}
    said: list[tuple[int, Finding]] = []
    for place, name in columns.items():
        values = [
            Value(block.block, mean[place], square[place])
            for block, mean, square in zip(whole, means, squares, strict=True)
            if block.present[place]
        ]
        channels[name], changes = followed(drift.channels.get(name) or begun(delta), values, delta)
        about: dict[str, int | float | str] = {"version": version, "feature": name}
        said += [(each.row, _finding(each, about, cause)) for each in changes]
    # In the order of the row blocks, however many of them come at once.
    said.sort(key=itemgetter(0))
    return replace(drift, channels=channels), [finding for _, finding in said]


def _finding(change: Change, about: Mapping[str, int | float | str], cause: Source) -> Finding:
    fields = {**about, "statistic": change.statistic}
    if not change.away:
        return Finding(kind=DriftCleared.__name__, about=str(about["feature"]), fields=fields, cause=cause)
    fields |= {"before": change.before, "after": change.after, "row": change.row}
    return Finding(kind=DriftWarned.__name__, about=str(about["feature"]), fields=fields, cause=cause)


def _merged(part: Part | None, row_blocks: Sequence[RowBlock]) -> tuple[Part | None, list[Part]]:
    """What is open after these parts, and the row blocks that they complete."""
    whole: list[Part] = []
    for new in row_blocks:
        if part is not None and (part.block, part.layout) == (new.block, new.layout):
            part = replace(
                part,
                rows=part.rows + new.rows,
                present=tuple(one + two for one, two in zip(part.present, new.present, strict=True)),
                sums=tuple(one + two for one, two in zip(part.sums, new.sums, strict=True)),
                squares=tuple(one + two for one, two in zip(part.squares, new.squares, strict=True)),
            )
        else:  # what a hole or a change of the features has cut short is never whole
            part = Part(
                block=new.block,
                layout=new.layout,
                rows=new.rows,
                present=new.present,
                sums=new.sums,
                squares=new.squares,
            )
        if part.rows == ROWS:
            whole.append(part)
            part = None
    return part, whole


def _watched(pipeline: Pipeline, reference: Reference) -> dict[int, str]:
    """The features that are numbers and had a spread in the reference, by place."""
    categories = {each.name for each in pipeline.features if isinstance(each.kind, Category)}
    profile = reference.profile
    return {
        place: name
        for place, name in enumerate(reference.names)
        if name not in categories
        and profile.block_mean_spread[place] > 0
        and profile.block_square_spread[place] > 0
    }


def standardised(blocks: Sequence[Part], profile: Profile) -> tuple[list[list[float]], list[list[float]]]:
    """The mean and the mean square of each row block and feature, in spreads of the reference from its mean.

    Where there is no value, or no spread, the number means nothing.
    """
    rows = np.maximum(np.array([block.present for block in blocks], dtype=np.float64), 1.0)
    mean, spread = np.array(profile.mean), np.array(profile.spread)
    unit = np.where(spread > 0, spread, 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        first = np.array([block.sums for block in blocks]) / rows
        second = np.array([block.squares for block in blocks]) / rows
        means = (first - mean) / unit
        squares = (second - 2 * mean * first + mean * mean) / (unit * unit)
        return (
            _bounded(means, profile.block_mean, profile.block_mean_spread),
            _bounded(squares, profile.block_square, profile.block_square_spread),
        )


def _bounded(
    values: NDArray[np.float64], mean: Sequence[float], spread: Sequence[float]
) -> list[list[float]]:
    spreads = np.array(spread)
    away = (values - np.array(mean)) / np.where(spreads > 0, spreads, 1.0)
    away[np.isnan(away)] = _FARTHEST
    bounded: list[list[float]] = np.clip(away, -_FARTHEST, _FARTHEST).tolist()
    return bounded
