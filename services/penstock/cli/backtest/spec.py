"""The pipeline file as a backtest reads it: what only a running system needs may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from penstock.cli.exits import Exit, Failure
from penstock.cli.specfile import load
from penstock.kernel.formats import Format
from penstock.kernel.kinds import Category
from penstock.kernel.mistakes import peek
from penstock.kernel.pii import treatment_of

if TYPE_CHECKING:
    from pathlib import Path

    from penstock.kernel.pipeline import Pipeline

_UNKNOWN: Final = "1h"
"""Stands for a horizon until the delays of the labels are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What is to be tried.

    Args:
        pipeline: from the file; events and labels are JSON, since that is how the history is sent.
        horizon_given: whether the file says how late a label may come.
        notes: what a reader of the result has to know about how the file was read.
    """

    pipeline: Pipeline
    horizon_given: bool
    notes: tuple[str, ...] = ()


def read_spec(path: Path, *, label_column: str | None) -> Spec:
    """The pipeline of a file.

    Args:
        path: of the file.
        label_column: the events' column that holds the label, in place of what the file says of labels.

    Raises:
        Failure: every mistake in it, with its line and column.
    """
    horizon_given = False

    def prepare(raw: Mapping[str, object]) -> Mapping[str, object]:
        nonlocal horizon_given
        horizon_given = peek(raw, "labels", "horizon") is not None
        return _filled(raw, label_column)

    pipeline = load(path, prepare=prepare)
    notes = []
    if pipeline.policy.approval != "automatic":
        # Nobody is there who could agree, and then no version would ever answer.
        notes.append(f"approval is {pipeline.policy.approval}: here every challenger is agreed to at once")
        pipeline = replace(
            pipeline,
            policy=replace(pipeline.policy, approval="automatic"),
            labels=replace(pipeline.labels, available="always"),
        )
    for feature in pipeline.features:
        kind = feature.kind
        if isinstance(kind, Category) and kind.values and treatment_of(pipeline.pii, feature.field):
            message = f"the categories of {feature.name!r} are listed as hashes, and a history has the words"
            raise Failure(f"{message}: write from_first_rows", Exit.INVALID)
    pipeline = replace(
        pipeline,
        events=replace(pipeline.events, format=Format()),
        labels=replace(pipeline.labels, format=Format()),
        pii=(),  # nothing is written: there is nothing to hide, and no key is needed
    )
    return Spec(pipeline=pipeline, horizon_given=horizon_given, notes=tuple(notes))


def _filled(raw: Mapping[str, object], label_column: str | None) -> Mapping[str, object]:
    """With what is missing of events and labels; what stands there is judged as it is.

    >>> filled = _filled({"pipeline": "churn", "labels": {"value": "left"}}, None)
    >>> filled["events"]
    {'topic': 'churn.events', 'id': 'id', 'time': 'time'}
    >>> filled["labels"]
    {'topic': 'churn.labels', 'id': 'id', 'time': 'time', 'horizon': '1h', 'value': 'left'}
    """
    name = raw.get("pipeline")
    given = {each: raw.get(each) for each in ("events", "labels")}
    filled = dict(raw)
    events: Mapping[str, object] = {"topic": f"{name}.events", "id": "id", "time": "time"}
    if isinstance(found := given["events"] or {}, Mapping):
        filled["events"] = events = {**events, **found}
    labels: Mapping[str, object] = {
        "topic": f"{name}.labels",
        "id": events.get("id"),
        "time": events.get("time"),
        "horizon": _UNKNOWN,
        **({} if label_column is None else {"value": label_column}),
    }
    if isinstance(found := given["labels"] or {}, Mapping):
        filled["labels"] = {**labels, **found}
    return filled
