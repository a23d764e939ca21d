"""The proposal as a pipeline file: commented YAML that `penstock check` accepts as it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*([./-][A-Za-z0-9_]+)*|[1-9][0-9]*(ms|s|m|h|d)")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"})
_WIDTH: Final = 46
"""Where a comment begins, beside what is not longer."""


def scalar(value: object) -> str:
    r"""A value on one line of YAML, which every reader of YAML reads as that value.

    >>> [scalar(value) for value in ("pro", "no", "9E", "a: b", 7, True)]
    ['pro', '"no"', '"9E"', '"a: b"', '7', 'true']
    >>> print(scalar("two\nlines"))
    "two\nlines"
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str() if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            return value
        case _:
            return f'"{"".join(map(_escaped, str(value)))}"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char == "\n":
        return "\\n"
    if char.isprintable():
        return char
    return f"\\U{ord(char):08x}"


def flow(value: object) -> str:
    """A value with all that is in it, on one line.

    >>> flow({"category": ["free", "pro"], "from": "user.plan"})
    '{category: [free, pro], from: user.plan}'
    """
    match value:
        case dict():
            return f"{{{', '.join(f'{scalar(key)}: {flow(each)}' for key, each in value.items())}}}"
        case list() | tuple():
            return f"[{', '.join(map(flow, value))}]"
        case _:
            return scalar(value)


def line(key: str, value: object, note: str = "", *, indent: int = 2) -> str:
    """A key, its value, and a comment beside it."""
    told = f"{' ' * indent}{scalar(key)}: {flow(value)}"
    return f"{told:<{_WIDTH}}  # {comment(note)}" if note else told


def comment(text: str) -> str:
    """Text that stays within a comment, whatever is in it."""
    return "".join(char if char.isprintable() else "�" for char in text)


def section(key: str, lines: Sequence[str]) -> list[str]:
    return ["", f"{key}:", *lines]


def commented(text: str, *, indent: int = 0) -> str:
    return f"{' ' * indent}# {comment(text)}".rstrip()


def block(values: Mapping[str, Any], notes: Mapping[str, str]) -> list[str]:
    """Keys and values of a section, with what there is to say about some."""
    return [line(key, value, notes.get(key, "")) for key, value in values.items()]
