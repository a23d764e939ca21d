r"""Patterns of text: regular expressions that take time in proportion to the text, whatever the pattern.

The engine is Rust's `regex` crate, which pydantic brings along. It knows no look-around and no references
back, which is why no pattern and no text can make it slow: `^(a+)+$`, which keeps a backtracking engine busy
for years, takes it half a millisecond on 200,000 characters. A pattern is searched for, as `grep` does:
`^` and `$` tie it to the ends.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Final

from pydantic_core import SchemaError, SchemaValidator, core_schema

from penstock.kernel.mistakes import Wrong, show

_LONGEST: Final = 1000


def pattern(raw: object) -> str:
    """A regular expression as a pipeline file writes it.

    >>> pattern("^[A-Z]{2}$")
    '^[A-Z]{2}$'
    >>> pattern("[A-Z")
    Traceback (most recent call last):
    ...
    penstock.kernel.mistakes.Wrong: not a regular expression that is taken: unclosed character class
    """
    if not isinstance(raw, str) or not raw:
        raise Wrong(f"expected a regular expression such as '^[A-Z]{{2}}$', got {show(raw)}")
    if len(raw) > _LONGEST:
        raise Wrong(f"the regular expression has {len(raw)} characters, at most {_LONGEST} are taken")
    try:
        _matcher(raw)
    except SchemaError as error:
        why = str(error).splitlines()[-1].strip().removeprefix("SchemaError:").removeprefix("error:").strip()
        raise Wrong(f"not a regular expression that is taken: {why}") from error
    return raw


def strangers(pattern: str, words: Iterable[str]) -> frozenset[str]:
    """Those of the words in which the pattern is not found.

    >>> sorted(strangers("^[A-Z]{2}$", ["EW", "ew", "EWR"]))
    ['EWR', 'ew']
    """
    matches = _matcher(pattern)
    return frozenset(word for word in words if not matches(word))


@functools.lru_cache(maxsize=1024)
def _matcher(pattern: str) -> Callable[[str], bool]:
    return SchemaValidator(core_schema.str_schema(pattern=pattern, strict=True)).isinstance_python
