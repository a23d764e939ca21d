"""The one JSON text of a value, by which digests name it."""

from __future__ import annotations

import orjson


def canonical_json(value: object) -> bytes:
    """The one JSON text of a value: keys sorted, no spaces.

    >>> canonical_json({"b": 1, "a": [2]})
    b'{"a":[2],"b":1}'
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
