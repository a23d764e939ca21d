"""What differs between two pipelines, and which differences a running pipeline cannot take."""

from collections.abc import Iterator, Mapping
from typing import Final

from penstock.kernel.kinds import Category, Feature, Number, TimePart
from penstock.kernel.pii import treatment_of
from penstock.kernel.pipeline import Pipeline

# So many of a list's entries fit on a line.
_MOST: Final = 5


def differences(old: Pipeline, new: Pipeline) -> list[str]:
    """What `new` changes, one line each, in the order of the applied form.

    >>> from dataclasses import replace
    >>> from penstock.kernel.policy import Policy
    >>> old = Pipeline.read({
    ...     "pipeline": "churn", "task": "binary", "features": {"age": "number"},
    ...     "events": {"topic": "crm.events", "id": "id", "time": "at"},
    ...     "labels": {"topic": "crm.ends", "id": "id", "time": "at", "value": "churned", "horizon": "30d"},
    ... })
    >>> differences(old, replace(old, owner="ann@example.com", policy=Policy(approval="manual")))
    ["owner: '' → 'ann@example.com'", "policy.approval: 'automatic' → 'manual'"]
    """
    return list(_lines("", _named(old.raw()), _named(new.raw())))


def refusals(old: Pipeline, new: Pipeline) -> list[str]:
    """Why `new` cannot take the place of `old`; empty if it can.

    Rows already written keep their meaning: features and categories grow at the end only, and what a label
    says stays what it was. Another meaning is another pipeline, under another name.
    """
    fixed = [
        ("the name", old.name, new.name),
        ("the task", old.task, new.task),
        ("labels.value", old.labels.value, new.labels.value),
        ("labels.positive", _or_nothing(old.labels.positive), _or_nothing(new.labels.positive)),
        ("classes", list(old.classes), list(new.classes)),
        # What versions were accepted with, and how they compare, is counted in this loss.
        ("policy.objective", old.policy.objective, new.policy.objective),
    ]
    found = [f"{what} cannot change: {before} → {after}" for what, before, after in fixed if before != after]
    for index, feature in enumerate(old.features):
        if index >= len(new.features) or new.features[index].name != feature.name:
            verb = "moved" if feature.name in new.feature_names else "removed"
            found.append(
                f"feature {feature.name!r} cannot be {verb}: features are only ever added at the end"
            )
        else:
            found += _refused_kind(feature, new.features[index])
            found += _refused_mark(old, new, index)
    return found


def _refused_mark(old: Pipeline, new: Pipeline, index: int) -> Iterator[str]:
    """Categories that were learned as words are none of the hashes that come from now on, nor back."""
    before, after = old.features[index], new.features[index]
    treated = [treatment_of(each.pii, feature.field) for each, feature in ((old, before), (new, after))]
    if (
        isinstance(before.kind, Category)
        and before.kind.values
        and ("hash" in treated)
        and len(set(treated)) > 1
    ):
        yield f"feature {before.name!r} has its categories: hashed or not, give that one a name of its own"


def _or_nothing(value: object) -> str:
    return "nothing" if value is None else str(value)


def _refused_kind(old: Feature, new: Feature) -> Iterator[str]:
    match old.kind, new.kind:
        case Category(values=None), Category():
            return
        case Category(values=tuple(before)), Category(values=None):
            yield f"feature {old.name!r} has learned its {len(before)} categories: that is final"
        case Category(values=tuple(before)), Category(values=tuple(after)):
            if after[: len(before)] != before:
                yield f"categories of {old.name!r} keep their places: new ones are only ever added at the end"
        case Number(), Number():
            return
        case TimePart() as one, TimePart() as other:
            if (one.part, one.field, one.shift, one.timezone) != (
                other.part,
                other.field,
                other.shift,
                other.timezone,
            ):
                yield f"feature {old.name!r} cannot take another part of a time: give that one a name"
        case one, other if type(one) is not type(other):
            yield f"feature {old.name!r} cannot change its type: give the new one a name of its own"


def _named(raw: dict[str, object]) -> dict[str, object]:
    """Features and lanes by name again, so that one added in front does not look like a change of all."""

    def by_name(entries: object) -> dict[str, object]:
        assert isinstance(entries, list)  # noqa: S101 - Pipeline.raw writes lists
        return {key: value for entry in entries for key, value in entry.items()}

    return {**raw, "features": by_name(raw["features"]), "lanes": by_name(raw["lanes"])}


def _lines(path: str, old: object, new: object) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            where = f"{path}.{key}" if path else str(key)
            if key not in new:
                yield f"{where}: removed"
            elif key not in old:
                yield f"{where}: added, {_brief(new[key])}"
            else:
                yield from _lines(where, old[key], new[key])
    elif isinstance(old, list) and isinstance(new, list) and all(isinstance(each, str) for each in old + new):
        if gone := [each for each in old if each not in new]:
            yield f"{path}: without {', '.join(gone)}"
        if more := [each for each in new if each not in old]:
            yield f"{path}: with {', '.join(more)}"
        if not gone and not more:
            yield f"{path}: in another order"
    else:
        yield f"{path}: {_brief(old)} → {_brief(new)}"


def _brief(value: object) -> str:
    match value:
        case {"schema": _}:
            return "an Avro schema"
        case dict():
            told = {key: _brief(inner) for key, inner in value.items() if inner is not False}
            return ", ".join(f"{key} {inner}".rstrip() for key, inner in told.items())
        case list():
            return "[" + ", ".join(map(str, value[:_MOST])) + (", …]" if len(value) > _MOST else "]")
        case _:
            return repr(value)
