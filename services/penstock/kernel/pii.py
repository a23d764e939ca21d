"""Personal data: fields that are dropped, or hashed with a key, before anything is written.

A hash is HMAC-SHA256 of the text as UTF-8, its first 32 hex digits: every language can make it, and without
the key nobody can go through all the ids there are to see which one it is.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

from penstock.kernel.kinds import Category, Feature
from penstock.kernel.mistakes import Mistake, Wrong, nearest, peek, show, unknown
from penstock.kernel.names import field_name

Treatment = Literal["drop", "hash"]
Pii = tuple[tuple[str, Treatment], ...]
"""Fields of events and labels, and what becomes of them; what is within a field is treated alike."""
_TREATMENTS: Final[tuple[Treatment, ...]] = get_args(Treatment)
_OTHER_WORDS: Final = {
    **dict.fromkeys(("remove", "delete", "redact", "omit", "mask", "hide"), "drop"),
    **dict.fromkeys(("hmac", "pseudonymise", "pseudonymize", "anonymise", "anonymize", "sha256"), "hash"),
}
_DIGEST: Final = re.compile(r"[0-9a-f]{32}")


def pseudonym(key: bytes, text: str) -> str:
    """What is written in place of a text.

    >>> pseudonym(b"a key of sixteen", "ann@example.com")
    '0c38397f562e2501eb49e4585ed1c30e'
    """
    return hmac.digest(key, text.encode(), "sha256")[:16].hex()


def no_key(pipeline: str) -> str:
    """What to say where the key is missing."""
    return (
        f"pipeline {pipeline} hashes personal data, which needs a key: PENSTOCK_PII_KEY_FILE names its file"
    )


def is_pseudonym(text: str) -> bool:
    """Whether a text can be one."""
    return bool(_DIGEST.fullmatch(text))


def treatment_of(pii: Pii, field: str) -> Treatment | None:
    """What becomes of a field, which may lie within a marked one.

    >>> treatment_of((("user", "drop"),), "user.email"), treatment_of((("user", "drop"),), "user_id")
    ('drop', None)
    """
    return next((what for marked, what in pii if _covers(marked, field)), None)


def _covers(marked: str, field: str) -> bool:
    return field == marked or field.startswith(f"{marked}.")


def read_pii(raw: object, mistakes: list[Mistake]) -> Pii:
    """What a pipeline file says below `pii`, by field; what is wrong is added to `mistakes`."""
    if raw is None:
        return ()
    if not isinstance(raw, Mapping) or not raw:
        mistakes.append(Mistake(("pii",), f"expected fields, and drop or hash for each, got {show(raw)}"))
        return ()
    found: list[tuple[str, Treatment]] = []
    for key, value in raw.items():
        try:
            field = field_name(key)
        except Wrong as wrong:
            mistakes.append(Mistake(("pii", str(key)), str(wrong), at_key=True))
            continue
        for treatment in _TREATMENTS:
            if value == treatment:
                found.append((field, treatment))
                break
        else:
            meant = nearest(value, [*_TREATMENTS, *_OTHER_WORDS])
            message = unknown("treatment", value, _TREATMENTS)
            mistakes.append(Mistake(("pii", field), message, _OTHER_WORDS.get(meant, meant)))
    return tuple(sorted(found))


def refused_marks(raw: Mapping[str, object], pii: Pii, features: Sequence[Feature]) -> list[Mistake]:
    """Marks on fields that the pipeline cannot do without, or can make nothing of once they are hashed."""
    found = []
    for section, key, can in _NEEDED:
        field = peek(raw, section, key)
        treatment = treatment_of(pii, field) if isinstance(field, str) else None
        if treatment == "drop" or (treatment and can == _NEITHER):
            found.append(Mistake(("pii", _mark(pii, str(field))), f"{field!r} is {section}.{key}: {can}"))
    for feature in features:
        treatment = treatment_of(pii, feature.field)
        kind, message = feature.kind, ""
        if treatment == "drop":
            message = f"feature {feature.name!r} is made of it: leave out the one or the other"
        elif treatment and not isinstance(kind, Category):
            message = f"feature {feature.name!r} is made of it, and only categories can be hashed"
        elif treatment and isinstance(kind, Category) and not all(map(is_pseudonym, kind.values or ())):
            message = (
                f"the categories of feature {feature.name!r} are hashes then: from_first_rows learns them"
            )
        elif treatment and isinstance(kind, Category) and kind.pattern is not None:
            message = f"feature {feature.name!r} has a pattern, which no hash follows"
        if message:
            found.append(Mistake(("pii", _mark(pii, feature.field)), message))
    return found


_NEITHER: Final = "it can be neither dropped nor hashed"
_NEEDED: Final = (
    ("events", "id", "it can be hashed, not dropped"),
    ("events", "time", _NEITHER),
    ("labels", "id", "it can be hashed, not dropped"),
    ("labels", "time", _NEITHER),
    ("labels", "value", _NEITHER),
)


def _mark(pii: Pii, field: str) -> str:
    return next(marked for marked, _ in pii if _covers(marked, field))
