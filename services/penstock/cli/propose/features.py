"""Features proposed from the fields of events, each with why; and those left out, with why not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from penstock.cli.sampled.telling import share
from penstock.kernel.names import is_feature_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from penstock.cli.propose.fields import Field

_FEW: Final = 20
"""Words that are written out."""
_LEARNED: Final = 1_000
"""Words that `apply` learns at most."""
_RARE: Final = 0.01
"""Fields that fewer rows have are left out."""
_SMALL: Final = 20
"""Rows below which nothing is known of how many different words there are."""
_LEAK: Final = "it says what the label says, so it would give the answer away"
_MIDNIGHTS: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """A feature as a pipeline file has it.

    Args:
        name: of the feature.
        kind: its right-hand side.
        note: what was seen.
    """

    name: str
    kind: object
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A field that became no feature."""

    path: str
    why: str


def propose(
    fields: Mapping[str, Field], *, event_time: str, but: Collection[str], leaks: Collection[str]
) -> tuple[list[Proposed], list[LeftOut]]:
    """Features in the order of the fields, then the parts of the event's own time.

    Args:
        fields: of the events, by path.
        event_time: the path of the event's own time.
        but: paths that are something else already, such as the id.
        leaks: paths whose values are the labels'.
    """
    features: list[Proposed] = []
    left: list[LeftOut] = []
    names: set[str] = set()
    for path, field in fields.items():
        if path in but or path == event_time:
            continue
        why = _LEAK if path in leaks else _against(field)
        if why:
            left.append(LeftOut(path=path, why=why))
        elif field.times is not None:
            features += _parts(path, _free(path, names), field, names)
        else:
            name = _free(path, names)
            names.add(name)
            kind, note = _kind(field)
            features.append(Proposed(name=name, kind=_from(kind, path, name), note=note))
    features += [
        Proposed(name=name, kind={part: event_time}, note="of the event's own time, in UTC; or timezone: …")
        for part in ("hour", "weekday")
        if (name := part) not in names
    ]
    return features, left


def _against(field: Field) -> str:  # noqa: PLR0911 - one per reason
    """Why a field can be no feature; '' where it can."""
    if field.present < max(_RARE * field.rows, 1):
        return f"only {share(field.present, field.rows)} of the rows have it"
    if field.personal:
        return "it looks like personal data"
    if field.times is not None:
        return "" if len(set(field.times.tolist())) > 1 else "it is the same in every row"
    if field.kind is None:
        kinds = " and ".join(
            f"{share(count, field.present)} {kind}" for kind, count in field.kinds.most_common()
        )
        return f"its values are of several types: {kinds}"
    if field.kind not in {"number", "text", "boolean"}:
        return f"it is a {field.kind}" if field.kind != "other" else "its values are bytes or alike"
    if field.distinct == 1 and field.rows > 1 and field.present == field.rows:
        return "it is the same in every row"
    if field.seconds and field.whole:
        return "seconds since 1970, it seems: times are read as milliseconds or ISO-8601"
    if field.kind == "text":
        return _against_text(field)
    if field.whole and field.distinct == field.present >= _SMALL and field.numbers.min() >= _LEARNED:
        return f"{field.distinct:,} different whole numbers in {field.present:,} rows: an id, it seems"
    return ""


def _against_text(field: Field) -> str:
    if all(_is_number(str(text)) for text in field.counts) and field.distinct > _FEW:
        return "numbers written as text: they can be read once their producer writes numbers"
    most = (0.5 if field.distinct <= _FEW else 0.2) * field.present
    many = field.distinct > most and (field.present >= _SMALL or field.distinct > _FEW)
    if many or field.distinct > _LEARNED:
        return f"{field.distinct:,} different texts in {field.present:,} rows: an id or free text, it seems"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _kind(field: Field) -> tuple[Any, str]:
    """The right-hand side, and what was seen."""
    absent = field.rows - field.present
    missing = f", {share(absent, field.rows)} missing" if absent else ""
    if field.strange:
        told = f"{share(field.strange, field.present)} are no {field.kind}"
        missing += f"; {told}: refused, or {{…, otherwise: {{type: set_missing}}}}"
    if field.kind == "boolean":
        return "boolean", f"{share(field.counts[True], field.present)} true{missing}"
    if field.kind == "number":
        numbers = field.numbers
        if not len(numbers):
            return "number", f"no finite value{missing}"
        least, middle, most = numbers.min(), np.median(numbers), numbers.max()
        return "number", f"{least:.6g} … {middle:.6g} … {most:.6g}{missing}"
    words = sorted(map(str, field.counts))
    if len(words) <= _FEW:
        common, count = field.counts.most_common(1)[0]
        seen = f"{len(words)} words, {_short(str(common))} {share(count, field.present)}{missing}"
        return {"category": words}, seen
    return {"category": "from_first_rows"}, f"{len(words):,} different ones{missing}"


def _parts(path: str, base: str, field: Field, names: set[str]) -> list[Proposed]:
    """Hour and weekday of another time than the event's own."""
    assert field.times is not None  # noqa: S101 - who calls has looked
    wanted = ["weekday"] if (field.times % _MIDNIGHTS == 0).all() else ["hour", "weekday"]
    found = []
    for part in wanted:
        name = _free(f"{base}_{part}", names)
        names.add(name)
        found.append(Proposed(name=name, kind={part: path}, note="in UTC; or timezone: …"))
    return found


def _from(kind: Any, path: str, name: str) -> Any:
    """The right-hand side with where the field stands, if its name does not say so."""
    if path == name:
        return kind
    if isinstance(kind, str):
        return {kind: {"from": path}}
    return {**kind, "from": path}


def _free(path: str, names: Collection[str]) -> str:
    """A feature's name for a field: `order.total` becomes `order_total`; one that is not taken."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", path).strip("_") or "field"
    if not is_feature_name(name):
        name = f"f_{name}"[:120]
    found, number = name, 2
    while found in names:
        found, number = f"{name}_{number}", number + 1
    return found


def _short(text: str) -> str:
    return text if len(text) <= 20 else f"{text[:19]}…"  # noqa: PLR2004 - a comment is short


def leaking(
    fields: Mapping[str, Field], matched: Sequence[tuple[int, object]], *, fewest: int = 20
) -> list[str]:
    """Fields of events that are what the label turned out to be, in every row that has its label.

    Args:
        fields: of the events, by path.
        matched: row of the event, and the label's raw value.
        fewest: rows needed to say so.
    """
    found = []
    for path, field in fields.items():
        if field.kind is None or field.distinct < 2:  # noqa: PLR2004 - what never changes says nothing
            continue
        at = dict(zip(field.places, field.values, strict=True))
        pairs = [(at[row], value) for row, value in matched if row in at]
        varied = len({value for _, value in pairs if _plain(value)}) > 1
        same = all(left == right and type(left) is type(right) for left, right in pairs)
        if len(pairs) >= fewest and varied and same:
            found.append(path)
    return found


def _plain(value: object) -> bool:
    return isinstance(value, bool | int | float | str)
