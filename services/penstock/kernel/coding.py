"""One feature of a batch of events: coded, and held to its rules.

A column is coded at once where every value has the type it should; only a column with an offender is gone
through value by value. The rules follow in this order, each for what is still there: type, pattern, range,
values; last of all, what is required has to be left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import NoneType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from penstock.kernel.columns import Values, Words, plain
from penstock.kernel.errors import Invalid
from penstock.kernel.kinds import Boolean, Category, Feature, Number, TimePart
from penstock.kernel.mistakes import either, show
from penstock.kernel.numbers import as_number
from penstock.kernel.otherwise import Action
from penstock.kernel.patterns import strangers
from penstock.kernel.times import event_time_ms, event_times_ms, local_ms, part_of
from penstock.kernel.validity import rules_of

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]
NAN: Final = math.nan
_SHOWN: Final = 10
_REASONS: Final = {"range": "out_of_range", "values": "not_allowed", "pattern": "no_match"}
_FOUND: Final = {
    "missing": "missing",
    "out_of_range": "out of range",
    "not_allowed": "none of those allowed",
    "no_match": "not as its pattern has it",
    "wrong_type": "of another type",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A rule that rows of a batch have broken, and that does not make them invalid.

    Args:
        field: of the event.
        rule: by its name in the pipeline file.
        action: what became of the value.
        rows: which, shape (rows,).
    """

    field: str
    rule: str
    action: Action
    rows: Mask


@dataclass(slots=True, kw_only=True)
class Column:
    """One feature of the batch: codes, and what to say about some of the rows."""

    codes: FloatArray
    wrong: dict[int, Invalid] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)

    def cleared(self) -> Mask | None:
        """Which rows lost their value to a rule; None where none did."""
        found: Mask | None = None
        for each in self.broken:
            if each.action == "set_missing":
                found = each.rows if found is None else found | each.rows
        return found


def code(feature: Feature, values: Values, times: NDArray[np.int64]) -> Column:
    """The column of a feature.

    Args:
        feature: what it is, and its rules.
        values: one for each row, None = missing; of no length where the feature needs only the time.
        times: the events' own times, milliseconds since 1970, shape (rows,).
    """
    kind, rules = feature.kind, rules_of(feature.kind)
    match kind:
        case Number():
            column = _numbers(feature, values)
        case Category():
            column = _categories(feature, kind, values)
        case Boolean():
            column = _booleans(feature, values)
        case TimePart():
            column = _time_part(kind, values, times)
    if column.wrong and rules["type"] != "dead_letter":
        rows = np.zeros(len(times), dtype=np.bool_)
        rows[list(column.wrong)] = True
        column.wrong.clear()
        column.broken.append(Broken(field=feature.field, rule="type", action=rules["type"], rows=rows))
    match kind:
        case Number():
            _hold_number(feature, kind, column)
        case Category():
            _hold_category(feature, kind, values, column)
    if "required" in rules:
        _demand(feature, rules["required"], column)
    return column


def _break(feature: Feature, column: Column, rule: str, rows: Mask, expected: str) -> None:
    """What becomes of rows that break a rule; a range that nobody set is that of float32."""
    action = rules_of(feature.kind).get(rule, "set_missing")
    if action == "dead_letter":
        for row in np.flatnonzero(rows).tolist():
            message = f"feature {feature.name!r} is {expected}"
            why = Invalid(message, field=feature.field, reason=_REASONS[rule])
            column.wrong.setdefault(row, why)
        return
    column.broken.append(Broken(field=feature.field, rule=rule, action=action, rows=rows))
    if action == "set_missing":
        column.codes[rows] = NAN


def _demand(feature: Feature, action: Action, column: Column) -> None:
    """A required value that is missing, or that a rule has set missing."""
    missing = np.isnan(column.codes)
    missing[list(column.wrong)] = False
    if not missing.any():
        return
    if action != "dead_letter":
        column.broken.append(Broken(field=feature.field, rule="required", action=action, rows=missing))
        return
    for row in np.flatnonzero(missing).tolist():
        rule = next((each.rule for each in column.broken if each.rows[row]), "")
        reason = "wrong_type" if rule == "type" else _REASONS.get(rule, "missing")
        message = f"feature {feature.name!r} is required, and {_FOUND[reason]}"
        column.wrong[row] = Invalid(message, field=feature.field, reason=reason)


def _hold_number(feature: Feature, kind: Number, column: Column) -> None:
    """Round to float32; what no float32 holds, or a rule does not allow, becomes missing or is told of."""
    exact = column.codes
    with np.errstate(over="ignore", invalid="ignore"):  # some NaNs complain
        single = exact.astype(np.float32)
    column.codes = single.astype(np.float64)
    endless = np.isinf(single)
    outside = endless.copy()
    if kind.min is not None:
        outside |= exact < kind.min
    if kind.max is not None:
        outside |= exact > kind.max
    if outside.any():
        expected = " and ".join(
            f"{word} {bound:g}"
            for word, bound in (("at least", kind.min), ("at most", kind.max))
            if bound is not None
        )
        message = f"out of range, expected {expected or 'a number that a model can take'}"
        _break(feature, column, "range", outside, message)
        column.codes[endless] = NAN
    if kind.values is not None:
        stray = ~np.isin(exact, kind.values) & ~np.isnan(column.codes)
        if stray.any():
            known = either([f"{each:g}" for each in kind.values[:_SHOWN]])
            _break(feature, column, "values", stray, f"none of those allowed: {known}")


def _hold_category(feature: Feature, kind: Category, values: Values, column: Column) -> None:
    if kind.pattern is not None:
        words = values.words if isinstance(values, Words) else plain(values)
        odd = strangers(kind.pattern, {word for word in words if isinstance(word, str)})
        if odd:
            rows = np.array([isinstance(word, str) and word in odd for word in words], dtype=np.bool_)
            if isinstance(values, Words):
                rows = rows[values.codes]
            expected = f"not as its pattern has it: {kind.pattern}"
            _break(feature, column, "pattern", rows, expected)
    unseen = column.codes == 0
    if unseen.any():
        known = either(kind.values[:_SHOWN]) if kind.values else ""
        _break(feature, column, "values", unseen, f"none of those allowed: {known}")


def _wrong(feature: Feature, value: object, expected: str) -> Invalid:
    message = f"feature {feature.name!r} is {show(value)}, expected {expected}"
    return Invalid(message, field=feature.field, reason="wrong_type")


def _numbers(feature: Feature, values: Values) -> Column:
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        return Column(codes=values.astype(np.float64))
    values = plain(values)
    if set(map(type, values)) <= {float, int, NoneType}:
        try:
            return Column(codes=np.array(values, dtype=np.float64))
        except OverflowError:  # a whole number beyond any double
            pass
    column = Column(codes=np.full(len(values), NAN))
    for row, value in enumerate(values):
        number = as_number(value)
        if number is not None:
            column.codes[row] = number
        elif value is not None:
            column.wrong[row] = _wrong(feature, value, "a number")
    return column


def _categories(feature: Feature, kind: Category, values: Values) -> Column:
    if kind.values is None:
        raise ValueError(f"the categories of feature {feature.name!r} are not learned yet")
    codes: dict[object, float] = {word: index + 1.0 for index, word in enumerate(kind.values)}
    codes[None] = NAN
    if isinstance(values, Words) and set(map(type, values.words)) <= {str, NoneType}:
        known = np.array([codes.get(word, 0.0) for word in values.words], dtype=np.float64)
        return Column(codes=known[values.codes])
    values = plain(values)
    if set(map(type, values)) <= {str, NoneType}:
        return Column(codes=np.array([codes.get(value, 0.0) for value in values], dtype=np.float64))
    column = Column(codes=np.full(len(values), NAN))
    for row, value in enumerate(values):
        if value is None or isinstance(value, str):
            column.codes[row] = codes.get(value, 0.0)
        else:
            column.wrong[row] = _wrong(feature, value, "text")
    return column


def _booleans(feature: Feature, values: Values) -> Column:
    values = plain(values)
    if set(map(type, values)) <= {bool, NoneType}:
        return Column(codes=np.array(values, dtype=np.float64))
    column = Column(codes=np.full(len(values), NAN))
    for row, value in enumerate(values):
        if isinstance(value, bool):
            column.codes[row] = value
        elif value is not None:
            column.wrong[row] = _wrong(feature, value, "true or false")
    return column


def _time_part(kind: TimePart, values: Values, times: NDArray[np.int64]) -> Column:
    wrong: dict[int, Invalid] = {}
    present = np.ones(len(times), dtype=np.bool_)
    if not kind.at_event_time:
        times, odd = event_times_ms(values)
        places = np.flatnonzero(odd).tolist()
        rows = plain(values) if places else ()
        for row in places:
            value = rows[row]
            present[row] = value is not None and value == value  # noqa: PLR0124 - NaN stands for null
            try:
                times[row] = event_time_ms(value, field=kind.field) if present[row] else 0
            except Invalid as why:
                wrong[row], present[row] = why, False
    codes = part_of(kind.part, local_ms(times + kind.shift, kind.timezone)).astype(np.float64)
    codes[~present] = NAN
    return Column(codes=codes, wrong=wrong)
