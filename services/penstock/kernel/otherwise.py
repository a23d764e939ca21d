"""What becomes of a value that breaks a rule: the record is refused, the value goes missing, or it is marked.

A rule has a default. `otherwise` says something else for all rules of a feature, or for each by its name:

    wind_speed: {number: {max: 200, otherwise: flag}}
    wind_speed: {number: {max: 200, otherwise: {range: flag, type: set_missing}}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Final, Literal, get_args

from pydantic import BeforeValidator, PlainSerializer

from penstock.kernel.mistakes import Wrong, either, nearest, show, unknown

Rule = Literal["required", "type", "range", "values", "pattern", "freshness"]
Choice = Literal["dead_letter", "set_missing", "flag"]
Action = Literal["dead_letter", "set_missing", "flag", "keep"]
"""`keep` is what an unseen category gets unless told otherwise: code 0, counted and not marked."""
CHOICES: Final[tuple[Choice, ...]] = get_args(Choice)

# A letter's reason, which is finer, and the rule that was broken.
_RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(("missing", "missing_id", "missing_time"), "required"),
    **dict.fromkeys(("wrong_type", "implausible_time"), "type"),
    "out_of_range": "range",
    **dict.fromkeys(("not_allowed", "unknown_class"), "values"),
    "no_match": "pattern",
    **dict.fromkeys(("future_time", "stale"), "freshness"),
}


def rule_of(reason: str) -> str:
    """The rule that a refused record broke; the reason itself where no rule of the spec was.

    >>> rule_of("out_of_range"), rule_of("undecodable")
    ('range', 'undecodable')
    """
    return _RULES.get(reason, reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Otherwise:
    """What a spec says of some rules, None where it says nothing.

    Args:
        wide: of every rule that is not named.
        required: of a value that is not there, and has to be.
        type: of a value of another type.
        range: of a number below its min or above its max.
        values: of a value that is none of those allowed.
        pattern: of a text in which the pattern is not found.

    >>> Otherwise.read({"range": "flag"}).raw()
    {'range': 'flag'}
    >>> Otherwise.read("flagg")
    Traceback (most recent call last):
    ...
    penstock.kernel.mistakes.Wrong: unknown action 'flagg': expected dead_letter, set_missing or flag
    """

    wide: Choice | None = None
    required: Choice | None = None
    type: Choice | None = None
    range: Choice | None = None
    values: Choice | None = None
    pattern: Choice | None = None

    @classmethod
    def read(cls, raw: object) -> Otherwise:
        match raw:
            case Otherwise():
                return raw
            case str():
                return cls(wide=_choice(raw))
            case Mapping() if raw:
                said: dict[str, Choice] = {}
                for rule, action in raw.items():
                    if rule not in NAMES:
                        raise Wrong(unknown("rule", rule, NAMES), nearest(rule, NAMES), within=(rule,))
                    said[rule] = _choice(action, rule)
                return cls(**said)
            case _:
                raise Wrong(f"expected {either(CHOICES)}, or one of them for each rule, got {show(raw)}")

    def of(self, rule: str) -> Choice | None:
        """What is said of one rule by its name."""
        said: Choice | None = getattr(self, rule)
        return said

    def raw(self) -> dict[str, str]:
        """What is said, by rule, as a pipeline file writes it."""
        return {name: said for name in NAMES if (said := self.of(name))}


UNSAID: Final = Otherwise()
NAMES: Final[Sequence[str]] = tuple(field.name for field in fields(Otherwise) if field.name != "wide")


def _choice(raw: object, *within: str) -> Choice:
    for choice in CHOICES:
        if raw == choice:
            return choice
    raise Wrong(unknown("action", raw, CHOICES), nearest(raw, CHOICES), within=within)


def settled(
    said: Otherwise, *, rules: Mapping[str, Action], defaults: Mapping[str, Action], kind: str
) -> Otherwise:
    """What is said, spelled out for each rule that is in force, and only where it is not the default.

    However it was written, one meaning has one text.

    Args:
        said: in the file.
        rules: those in force here, with their defaults.
        defaults: of all rules that this kind of feature may have.
        kind: of feature, for messages.

    Raises:
        Wrong: it names a rule that is not there, or asks for what cannot be.

    >>> number = {"required": "dead_letter", "type": "dead_letter", "range": "set_missing"}
    >>> settled(Otherwise(wide="flag"), rules={"type": "dead_letter"}, defaults=number, kind="number").raw()
    {'type': 'flag'}
    """
    for rule in said.raw():
        if rule not in defaults:
            raise Wrong(f"a {kind} has no rule {rule!r}: expected {either(list(defaults))}", within=(rule,))
        if rule not in rules:
            raise Wrong(f"there is no rule {rule!r} here that could be broken", within=(rule,))
    if said.required == "set_missing":
        raise Wrong(
            "what is missing cannot be set missing: expected dead_letter or flag", within=("required",)
        )
    chosen: dict[str, Choice] = {}
    for rule, default in rules.items():
        action = said.of(rule) or (None if (rule, said.wide) == ("required", "set_missing") else said.wide)
        if action and action != default:
            chosen[rule] = action
    return Otherwise(**chosen)


AnOtherwise = Annotated[Otherwise, BeforeValidator(Otherwise.read), PlainSerializer(Otherwise.raw)]
