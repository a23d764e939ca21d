"""The label of a row: the number a model is judged by, made from what a label record says."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from penstock.kernel.errors import Invalid
from penstock.kernel.mistakes import either, show
from penstock.kernel.numbers import as_number

if TYPE_CHECKING:
    from penstock.kernel.pipeline import Pipeline

LARGEST: Final = float(np.finfo(np.float32).max)
"""Models answer in float32, so nothing beyond can be foretold; and sums of squares up to it stay finite."""


def make_label(pipeline: Pipeline, value: object) -> float:
    """The label as a double: 0 or 1, the class's place in the list (multiclass), or the number (regression).

    Raises:
        Invalid: the value cannot be one; its `reason` is missing, wrong_type, unknown_class or out_of_range.

    >>> from penstock.kernel.pipeline import Pipeline
    >>> flights = Pipeline.read({
    ...     "pipeline": "flights",
    ...     "task": "binary",
    ...     "events": {"topic": "departures", "id": "id", "time": "t"},
    ...     "labels": {
    ...         "topic": "arrivals", "id": "id", "time": "t", "horizon": "36h",
    ...         "value": "delay", "positive": ">= 15",
    ...     },
    ...     "features": {"wind": "number"},
    ... })
    >>> make_label(flights, 15), make_label(flights, -3.5)
    (1.0, 0.0)
    """
    field = pipeline.labels.value
    if value is None:
        raise Invalid(f"label {field!r} is missing", field=field, reason="missing")
    positive = pipeline.labels.positive
    match pipeline.task:
        case "multiclass":
            return _class(field, value, pipeline.classes)
        case "binary":
            if positive is None:
                return _yes_or_no(field, value)
            return float(positive.applies(_number(field, value)))
        case "regression":
            number = _number(field, value)
            if abs(number) > LARGEST:
                message = f"label {field!r} is {number}, expected at most {LARGEST:.1e} either way"
                raise Invalid(message, field=field, reason="out_of_range")
            return number


def _number(field: str, value: object) -> float:
    number = as_number(value)
    if number is None:
        raise Invalid(
            f"label {field!r} is {show(value)}, expected a number", field=field, reason="wrong_type"
        )
    if not math.isfinite(number):
        raise Invalid(
            f"label {field!r} is {number}, expected a finite number", field=field, reason="out_of_range"
        )
    return number


def _yes_or_no(field: str, value: object) -> float:
    number = float(value) if isinstance(value, bool) else as_number(value)
    if number not in (0.0, 1.0):
        raise Invalid(
            f"label {field!r} is {show(value)}, expected true, false, 0 or 1",
            field=field,
            reason="wrong_type",
        )
    return number


def _class(field: str, value: object, classes: tuple[str, ...]) -> float:
    if not isinstance(value, str):
        raise Invalid(f"label {field!r} is {show(value)}, expected text", field=field, reason="wrong_type")
    if value not in classes:
        message = f"label {field!r} is {show(value)}, expected {either(classes)}"
        raise Invalid(message, field=field, reason="unknown_class")
    return float(classes.index(value))
