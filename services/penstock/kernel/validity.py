"""Which rules a value of a feature can break, what becomes of it then, and which of them shape the vector."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from penstock.kernel.kinds import Boolean, Category, Kind, Number, TimePart
from penstock.kernel.otherwise import UNSAID, Action, Otherwise

DEFAULTS: Final[dict[type, dict[str, Action]]] = {
    Number: {
        "required": "dead_letter",
        "type": "dead_letter",
        "range": "set_missing",
        "values": "set_missing",
    },
    Category: {"required": "dead_letter", "type": "dead_letter", "pattern": "set_missing", "values": "keep"},
    Boolean: {"required": "dead_letter", "type": "dead_letter"},
    TimePart: {"required": "dead_letter", "type": "dead_letter"},
}


def rules_of(kind: Kind) -> dict[str, Action]:
    """The rules that a value of this kind can break, and what becomes of it then.

    >>> rules_of(Number(max=200.0, otherwise=Otherwise(range="flag")))
    {'type': 'dead_letter', 'range': 'flag'}
    """
    return {rule: kind.otherwise.of(rule) or default for rule, default in in_force(kind).items()}


def in_force(kind: Kind) -> dict[str, Action]:
    """The rules of a kind, with their defaults."""
    off = set() if kind.required else {"required"}
    match kind:
        case Number():
            off |= {"range"} if kind.min is None and kind.max is None else set()
            off |= {"values"} if kind.values is None else set()
        case Category(pattern=None):
            off.add("pattern")
        case TimePart(at_event_time=True):
            off |= {"required", "type"}  # they are those of the event's own time
    return {rule: default for rule, default in DEFAULTS[type(kind)].items() if rule not in off}


def meaning(kind: Kind) -> Kind:
    """The kind without what says which rows there are or marks them: what a value stands for in the vector.

    Two kinds of one meaning never code a value in two ways, so their rows have one layout. A range that sets
    missing is part of it, one that refuses or flags is not.

    >>> meaning(Number(max=200.0, otherwise=Otherwise(range="flag"))) == Number()
    True
    """
    does = rules_of(kind)
    bare: dict[str, Any] = {"required": False, "otherwise": UNSAID}
    if not isinstance(kind, TimePart):
        bare |= {"source": None}  # where a value stands is not what it says
    match kind:
        case Number():
            if does.get("range") != "set_missing":
                bare |= {"min": None, "max": None}
            if does.get("values") != "set_missing":
                bare |= {"values": None}
        case Category():
            if does.get("pattern") != "set_missing":
                bare |= {"pattern": None}
            if does["values"] == "set_missing":
                bare |= {"otherwise": Otherwise(values="set_missing")}
    return replace(kind, **bare)
