"""Schemas by id, from a registry that speaks Confluent's API: remembered, waited for, or given up.

What a registry has once given for an id stays so. An id that it does not know is waited for, since a schema
may reach the registry a moment later than the records, but only for a set time since it was first met: then
it is *unknown*, and asked for again only now and then. A wait that was in vain is not repeated for each
other id that comes up soon after: a flood of ids nobody knows costs one wait, not one each. A registry that
does not answer is waited for as long as it takes, as the broker is.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

import orjson

from penstock.kernel.errors import Invalid
from penstock.runtime import logs
from penstock.runtime.avro import Schema
from penstock.runtime.errors import NotYet
from penstock.runtime.wire.client import Access, Away, TooLarge, ask
from penstock.runtime.wire.references import made_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

_MOST: Final = 10_000
"""Ids that are remembered, known or not."""
_MOST_REFERRED: Final = 100
"""Schemas that one may refer to, counted with what those refer to."""
_ROUND: Final = 10.0
"""Seconds of asking after which what was learned is put to use: the loop has to show that it is alive."""
_AGAIN: Final = 1.0
"""Seconds before a registry that did not answer, or does not know an id yet, is asked again."""
_UNKNOWN_AGAIN: Final = 30.0
"""Seconds before an id that was given up is asked for again."""
_QUIET: Final = 6.0
"""So many times the wait, after one in vain, no other is begun."""
_OK: Final = 200
_REFUSED: Final = (401, 403)
_NOWHERE: Final = frozenset({400, 404, 405, 410, 414, 422})
"""Statuses by which a registry says that there is no such thing."""
_NOT_FOUND: Final = range(40401, 40500)
"""Confluent's codes for what is not there, by which a registry is told from whatever else has its address."""
_HIGHEST: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a registry knows of an id; without a schema its values are JSON objects."""

    schema: Schema | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Missing:
    """An id that nothing can be read with; times are in seconds.

    Args:
        why: what records with it are told, once it is no longer waited for.
        until: it is waited for; None if it is not.
        again: the registry is not asked before.
    """

    why: Invalid
    until: float | None
    again: float


class Registry:
    """What is known of the ids of one registry.

    Args:
        url: of its API, without a slash at the end.
        access: to it.
        wait: seconds that an unknown id is waited for.
        clock: seconds, from anywhere.
    """

    def __init__(
        self, url: str, access: Access, *, wait: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._access = access
        self._wait = wait
        self._clock = clock
        self._known: OrderedDict[str, Found] = OrderedDict()
        self._missing: OrderedDict[str, _Missing] = OrderedDict()
        self._quiet = float("-inf")
        self._asleep = float("-inf")
        self._conditions = logs.Conditions()
        self._why = ""

    def find(self, ids: Sequence[str]) -> dict[str, Found | Invalid]:
        """What each id stands for; of those that are unknown, and cannot be waited for, why not.

        Raises:
            NotYet: one is waited for, or the registry does not answer.
        """
        began = self._clock()
        found: dict[str, Found | Invalid] = {}
        waiting = []
        for name in ids:
            known: Found | Invalid | None = self._known.get(name)
            if name.isdigit() and int(name) > _HIGHEST:
                known = Invalid(f"{name} is no id of a schema", reason="unknown_schema")
            if known is None:
                if self._clock() - began > _ROUND:
                    raise NotYet(f"{len(ids)} schemas are being asked for at {self._url}")
                known = self._look_up(name)
            if known is None:
                waiting.append(name)
            else:
                found[name] = known
        if waiting:
            raise NotYet(f"schema {waiting[0]} is not known to {self._url} yet")
        return found

    def _look_up(self, name: str) -> Found | Invalid | None:
        """What an id stands for, asked of the registry where it is time; None while it is waited for."""
        missing = self._missing.get(name)
        if missing is None or self._clock() >= missing.again:
            answer = self._ask(name)
            if isinstance(answer, Found):
                self._missing.pop(name, None)
                _keep(self._known, name, answer)
                return answer
            missing = self._missed(missing, answer)
            _keep(self._missing, name, missing)
        if missing.until is None:
            return missing.why
        if self._clock() < missing.until:
            return None
        self._quiet = max(self._quiet, missing.until + _QUIET * self._wait)
        return missing.why

    def _missed(self, before: _Missing | None, why: Invalid) -> _Missing:
        now = self._clock()
        until = None if before is None else before.until
        if before is None and why.reason == "unknown_schema" and now >= self._quiet:
            until = now + self._wait
        waiting = until is not None and now < until
        return _Missing(why=why, until=until, again=now + (_AGAIN if waiting else _UNKNOWN_AGAIN))

    def _ask(self, name: str) -> Found | Invalid:
        """The registry's answer, or what is wrong with it.

        Raises:
            NotYet: it does not answer.
        """
        if self._clock() < self._asleep:
            raise NotYet(self._why)
        found: Found | Invalid
        try:
            found = self._found(name)
        except Away as away:
            self._asleep = self._clock() + _AGAIN
            self._why = f"the schema registry at {self._url} does not answer: {away}"
            self._conditions.began("registry_unavailable", url=self._url, why=str(away))
            raise NotYet(self._why) from away
        except TooLarge as large:
            found = Invalid(f"schema {name} of {self._url} is too large: {large}", reason="schema")
        except Invalid as why:
            found = Invalid(f"schema {name} of {self._url}: {why}", reason=why.reason)
        self._conditions.ended("registry_unavailable", url=self._url)
        return found

    def _found(self, name: str) -> Found:
        """What the registry has under an id.

        Raises:
            Invalid: nothing, or nothing that can be read with.
        """
        kind = "ids" if name.isdigit() else "guids"
        answer = self._get(f"/schemas/{kind}/{name}", strict=kind == "ids")
        if answer is None:
            raise Invalid("it is not known there", reason="unknown_schema")
        written = answer.get("schemaType") or "AVRO"
        if written == "JSON":
            return Found(schema=None)
        if written != "AVRO":
            raise Invalid(f"it is {written}, expected AVRO or JSON", reason="schema")
        referred: dict[str, Any] = {}
        self._refer(answer.get("references"), referred)
        text = _text(answer)
        return Found(schema=Schema(orjson.dumps(made_whole(_parsed(text), referred)) if referred else text))

    def _refer(self, references: Any, referred: dict[str, Any]) -> None:
        """Gather what a schema refers to, and what that refers to, each once."""
        for each in references if isinstance(references, list) else []:
            name, subject, version = (each.get(key) for key in ("name", "subject", "version"))
            if name in referred:
                continue
            if len(referred) >= _MOST_REFERRED:
                raise Invalid(f"it refers to more than {_MOST_REFERRED} schemas", reason="schema")
            if not (isinstance(name, str) and isinstance(subject, str) and isinstance(version, int)):
                raise Invalid("it refers to a schema without name, subject or version", reason="schema")
            answer = self._get(f"/subjects/{quote(subject, safe='')}/versions/{version}", strict=True)
            if answer is None:
                raise Invalid(f"version {version} of {subject}, to which it refers, is gone", reason="schema")
            referred[name] = _parsed(_text(answer))
            self._refer(answer.get("references"), referred)

    def _get(self, path: str, *, strict: bool) -> dict[str, Any] | None:
        """The JSON of a resource; None where there is none.

        Args:
            path: of it.
            strict: whether only a registry's own word counts for there being none. Not all have GUIDs.

        Raises:
            Away: that was no answer of a registry.
        """
        status, body = ask(self._url + path, self._access)
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = None
        if status in _NOWHERE and (_says_so(answer) or not strict):
            return None
        if status in _REFUSED:
            raise Away(f"it refuses these credentials ({status})")
        if status != _OK:
            raise Away(f"it answers {status}")
        if not isinstance(answer, dict):
            raise Away("what it answers is no JSON object")
        return answer


def _says_so(answer: Any) -> bool:
    """Whether a registry itself says that there is nothing, and not whatever else has this address."""
    code = answer.get("error_code") if isinstance(answer, dict) else None
    return isinstance(code, int) and code in _NOT_FOUND


def _text(answer: dict[str, Any]) -> str:
    schema = answer.get("schema")
    if not isinstance(schema, str):
        raise Away("what it answers has no schema in it")
    return schema


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"not an Avro schema: {error}", reason="schema") from error


def _keep(kept: OrderedDict[str, T], name: str, value: T) -> None:
    kept[name] = value
    kept.move_to_end(name)
    if len(kept) > _MOST:
        kept.popitem(last=False)
