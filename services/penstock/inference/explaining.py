"""Explanations of answers: what each feature added to the raw score that a row was answered with.

The answering version explains, so rows of one call may be explained by several. The columns are those of the
rows; a feature that the version does not know added nothing. Where a version knows a feature that the rows do
not have (they are older than it), what its being missing adds is part of the base value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from penstock.inference.domain import gather
from penstock.inference.faults import Fault, Violation
from penstock.onnx import Unexplainable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from penstock.inference.domain import Explainer, FloatMatrix, Scored, Serving

MOST_STEPS: Final = 2**24
"""Numbers that one call may make this process work out: a fifth of a second of one processor."""


class Explanation(NamedTuple):
    """Why some rows were answered as they were.

    Args:
        values: float32 ``[n, K, names + 1]``: for each output what each feature added, then the base value.
        scale: of the raw scores that they sum to.
    """

    values: FloatMatrix
    scale: str


def explained(
    serving: Serving, scored: Scored, names: tuple[str, ...], matrix: NDArray[np.floating]
) -> Explanation:
    """What a client asked for: the attributions of all rows.

    Args:
        serving: that scored them.
        scored: who answered each.
        names: the columns.
        matrix: ``[n, names]``, NaN = missing.

    Raises:
        Fault: FAILED_PRECONDITION where an answering version cannot be explained, INVALID_ARGUMENT where the
            rows are too many for it.
    """
    explainers: dict[int, Explainer] = {}
    for version in dict.fromkeys(answer.version for answer in scored.answers):
        try:
            explainers[version] = _explainer(serving, version)
        except Unexplainable as why:
            raise Fault("FAILED_PRECONDITION", f"version {version} cannot be explained: {why}") from why
        most = MOST_STEPS // max(1, explainers[version].steps)
        if len(matrix) > most:
            text = f"parameter 'explain': {len(matrix)} rows, at most {most} of version {version} at once"
            raise Fault("INVALID_ARGUMENT", violations=[Violation("explain", text)])
    values = np.empty((len(matrix), serving.pipeline.outputs, len(names) + 1), dtype=np.float32)
    rows = np.ascontiguousarray(matrix, dtype=np.float32)
    answering = np.array([answer.version for answer in scored.answers])
    for version, explainer in explainers.items():
        theirs = answering == version
        values[theirs] = _attributed(explainer, serving.models[version].features, names, rows[theirs])
    return Explanation(values, "/".join(sorted({explainer.scale for explainer in explainers.values()})))


def sampled(
    serving: Serving,
    scored: Scored,
    ids: Sequence[str],
    names: tuple[str, ...],
    matrix: NDArray[np.floating],
) -> list[tuple[float, ...]]:
    """What the log is to say of why: the attributions of the share of the rows that the pipeline asks for.

    A function of id and row: the same on every replica and in every replay, in whatever batches rows come.

    Args:
        serving: that scored them; its pipeline says which share.
        scored: who answered each.
        ids: of the rows.
        names: the columns.
        matrix: ``[n, names]``, NaN = missing.

    Returns:
        for each row its ``K * (names + 1)`` attributions; none where it is not in the share, was not
        answered, or its version cannot be explained.
    """
    found: list[tuple[float, ...]] = [()] * len(ids)
    by_version: dict[int, list[int]] = {}
    for row in chosen(serving, ids):
        by_version.setdefault(scored.answers[row].version, []).append(row)
    for version, rows in by_version.items():
        try:
            explainer = _explainer(serving, version)
        except Unexplainable:
            continue
        if version not in scored.scores:
            continue
        theirs = np.ascontiguousarray(matrix[rows], dtype=np.float32)
        values = _attributed(explainer, serving.models[version].features, names, theirs)
        for row, line in zip(rows, values.reshape(len(rows), -1).tolist(), strict=True):
            found[row] = tuple(line)
    return found


def chosen(serving: Serving, ids: Sequence[str]) -> list[int]:
    """The places of the rows that are explained in the log without anybody asking."""
    explain = serving.pipeline.explain
    # Most pipelines ask for none, and a hash costs a microsecond.
    return [row for row, id_ in enumerate(ids) if explain.takes(id_)] if explain.sample else []


def _explainer(serving: Serving, version: int) -> Explainer:
    explaining = serving.models[version].explaining
    if explaining is None:
        raise Unexplainable("its artifact is not kept here")
    return explaining(serving.pipeline.task)


def _attributed(
    explainer: Explainer, features: tuple[str, ...], names: tuple[str, ...], rows: FloatMatrix
) -> FloatMatrix:
    """One version's attributions of rows, in the columns of the rows."""
    own = explainer.attribute(gather(rows, names, features))
    if names == features:
        return own
    found = np.zeros((*own.shape[:2], len(names) + 1), dtype=np.float32)
    found[:, :, -1] = own[:, :, -1]
    places = {name: place for place, name in enumerate(names)}
    for column, feature in enumerate(features):
        found[:, :, places.get(feature, -1)] += own[:, :, column]
    return found
