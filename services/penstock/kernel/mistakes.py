"""What is wrong with a pipeline file, so that its author can mend it: where, what, what was probably meant.

Pydantic does the checking; nobody who writes a file should have to know that, so its verdicts are put into
the file's own words here, and nowhere else.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing to mend.

    Args:
        path: the keys that lead to the place; of a missing key, those that lead to where it belongs.
        message: what is wrong, in the file's own words.
        suggestion: what was probably meant, where that can be guessed.
        at_key: the key is at fault, not the value behind it.

    >>> print(Mistake(("features", "wind"), "unknown type 'nubmer'", "number"))
    features.wind: unknown type 'nubmer' (did you mean 'number'?)
    """

    path: Path
    message: str
    suggestion: str = ""
    at_key: bool = False

    def __str__(self) -> str:
        hint = f" (did you mean {self.suggestion!r}?)" if self.suggestion else ""
        where = ".".join(map(str, self.path))
        return f"{where}: {self.message}{hint}" if where else f"{self.message}{hint}"


class Mistakes(Exception):  # noqa: N818 - it is what was found, all of it
    """Everything that is wrong with a pipeline, in the order of its file."""

    def __init__(self, items: Iterable[Mistake]) -> None:
        self.items = tuple(items)
        super().__init__("\n".join(map(str, self.items)))


class Wrong(ValueError):  # noqa: N818 - raised by a reader of one value: `raise Wrong("expected …")`
    """This value cannot be read; whoever knows its place makes a `Mistake` of it.

    Args:
        message: what was expected, and what stands there.
        suggestion: what was probably meant.
        within: the keys that lead from the value to the part of it that is at fault.
    """

    def __init__(self, message: str, suggestion: str = "", *, within: Path = ()) -> None:
        super().__init__(message)
        self.suggestion = suggestion
        self.within = within


def nearest(word: object, known: Iterable[str]) -> str:
    """The known word that was probably meant, or ''.

    >>> nearest("horizn", ["topic", "horizon"]), nearest("colour", ["topic", "horizon"])
    ('horizon', '')
    """
    found = difflib.get_close_matches(word.lower(), list(known), n=1) if isinstance(word, str) else []
    return found[0] if found else ""


def show(value: object) -> str:
    """A value as its author wrote it, short enough for one line.

    >>> show(None), show(True), show("x"), show([1]), show({}), show(3)
    ('nothing', 'true', "'x'", 'a list', 'a mapping', '3')
    """
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return repr(value if len(value) <= 60 else value[:57] + "…")  # noqa: PLR2004 - a line has some 100 places
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case _:
            return str(value)


def peek(raw: object, *path: str) -> object:
    """What stands at a path, or None where something else stands in the way.

    >>> peek({"labels": {"value": "y"}}, "labels", "value"), peek({"labels": 3}, "labels", "value")
    ('y', None)
    """
    for key in path:
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw


def in_order(mistakes: Iterable[Mistake], raw: object) -> tuple[Mistake, ...]:
    """The mistakes in the order in which their places stand in the raw document."""

    def place(mistake: Mistake) -> list[int]:
        at, found = raw, []
        for part in mistake.path:
            if isinstance(at, Mapping) and part in at:
                found.append(list(at).index(part))
                at = at[part]
            elif isinstance(at, list) and isinstance(part, int) and part < len(at):
                found.append(part)
                at = at[part]
            else:
                break
        return found

    return tuple(sorted(mistakes, key=place))


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def adapter(kind: type) -> TypeAdapter[Any]:
    """The reader and writer of a type, made once."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def read(kind: type[T], raw: object, path: Path, mistakes: list[Mistake]) -> T | None:
    """Read a value of a dataclass; what is wrong is added to `mistakes`, and None returned.

    >>> from penstock.kernel.policy import Lane
    >>> found: list[Mistake] = []
    >>> read(Lane, {"name": "recent", "windw": "28d"}, ("lanes", "recent"), found)
    >>> print(found[0])
    lanes.recent.windw: unknown key 'windw' (did you mean 'window'?)
    """
    try:
        value: T = adapter(kind).validate_python(raw)
    except ValidationError as error:
        details = error.errors(include_url=False)
    else:
        return value
    mistakes += [_mistake(kind, detail, path) for detail in details]
    return None


_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dataclass_type": "keys and values",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def _mistake(kind: type, detail: ErrorDetails, prefix: Path) -> Mistake:  # noqa: PLR0911 - one per verdict
    """One of pydantic's verdicts in the file's own words."""
    loc, given = detail["loc"], detail["input"]
    path: Path = (*prefix, *loc)
    match detail["type"]:
        case "missing":
            return Mistake(path[:-1], f"{loc[-1]!r} is missing", at_key=True)
        case "unexpected_keyword_argument" | "invalid_key":
            meant = nearest(loc[-1], _keys(_at(kind, loc[:-1])))
            return Mistake(path, f"unknown key {loc[-1]!r}", meant, at_key=True)
        case "literal_error":
            known = [str(choice) for choice in get_args(_at(kind, loc))]
            return Mistake(path, unknown("value", given, known), nearest(given, known))
        case "value_error":
            wrong = detail["ctx"]["error"]
            if not isinstance(wrong, Wrong):
                raise wrong
            return Mistake((*path, *wrong.within), str(wrong), wrong.suggestion)
        case bound if bound in _BOUNDS:
            key, words = _BOUNDS[bound]
            return Mistake(path, f"expected {words} {detail['ctx'][key]:g}, got {show(given)}")
        case other if other in _EXPECTED:
            return Mistake(path, f"expected {_EXPECTED[other]}, got {show(given)}")
        case _:
            return Mistake(path, f"cannot be {show(given)}")


def unknown(what: str, given: object, known: Sequence[str]) -> str:
    """The message for a word that is none of a few.

    >>> unknown("task", "binray", ["binary", "regression"])
    "unknown task 'binray': expected binary or regression"
    """
    return f"unknown {what} {show(given)}: expected {either(known)}"


def either(words: Sequence[str]) -> str:
    """A few words to choose from.

    >>> either(["a", "b", "c"]), either(["a"])
    ('a, b or c', 'a')
    """
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _bare(kind: Any) -> Any:
    """A type without the notes on it and without `| None`."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif get_origin(kind) in (Union, UnionType):
            kind = next(each for each in get_args(kind) if each is not NoneType)
        else:
            return kind


def _at(kind: Any, loc: Sequence[str | int]) -> Any:
    """The type that stands at a place within a dataclass."""
    for part in loc:
        bare = _bare(kind)
        if isinstance(part, int):
            kind = get_args(bare)[0]
        else:
            kind = next(field.type for field in fields(bare) if _key(field) == part)
    return _bare(kind)


def _keys(kind: Any) -> list[str]:
    return [_key(field) for field in fields(kind)] if is_dataclass(kind) else []


def _key(field: Field[Any]) -> str:
    """What a file calls a field: its name, unless that is one of Python's own words."""
    notes = get_args(field.type)[1:] if get_origin(field.type) is Annotated else ()
    return next((alias for note in notes if (alias := getattr(note, "alias", None))), field.name)
