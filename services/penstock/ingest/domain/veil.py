"""Personal data on its way in: what is marked is hashed before it is looked at, and not told of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.kernel.columns import Values, Words, plain
from penstock.kernel.errors import Invalid
from penstock.kernel.otherwise import rule_of
from penstock.kernel.pii import Pii, no_key, pseudonym, treatment_of
from penstock.kernel.pipeline import Pipeline

# What is said of these says nothing of what stands in a record.
_PLAIN = frozenset({"empty", "too_large", "unknown_schema"})


def hashed_ids(pipeline: Pipeline, ids: Sequence[str], key: bytes | None) -> Sequence[str]:
    """The ids as they are written."""
    if not pipeline.hashes_ids:
        return ids
    secret = _needed(pipeline, key)
    return [pseudonym(secret, name) for name in ids]


def hashed_words(
    pipeline: Pipeline, columns: Mapping[str, Values], key: bytes | None
) -> Mapping[str, Values]:
    """The columns, with hashes where a category is made of a field that is hashed."""
    marked = {
        feature.field for feature in pipeline.features if treatment_of(pipeline.pii, feature.field) == "hash"
    }
    if not marked:
        return columns
    secret = _needed(pipeline, key)
    return {name: _hashed(secret, values) if name in marked else values for name, values in columns.items()}


def veiled(pii: Pii, why: Invalid) -> Invalid:
    """Why a record is refused, without what stands in a marked field.

    A record that could not be read at all may have been read in part, and what was met is in the message.
    """
    if not pii:
        return why
    if treatment_of(pii, why.field):
        rule = rule_of(why.reason)
        message = f"field {why.field!r}, which is personal data and not shown, broke rule {rule!r}"
    elif not why.field and why.reason not in _PLAIN:
        message = "it could not be read; there is personal data in it, so more is not said"
    else:
        return why
    return Invalid(message, field=why.field, reason=why.reason)


def _hashed(key: bytes, values: Values) -> Values:
    """Text as its hash; anything else is no category, and stays for the rules to find."""
    if isinstance(values, Words):
        return Words([_hash(key, word) for word in values.words], values.codes)
    return [_hash(key, value) for value in plain(values)]


def _hash(key: bytes, value: object) -> object:
    return pseudonym(key, value) if isinstance(value, str) else value


def _needed(pipeline: Pipeline, key: bytes | None) -> bytes:
    if key is None:
        raise ValueError(no_key(pipeline.name))
    return key
