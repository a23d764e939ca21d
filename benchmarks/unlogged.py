"""Inference without its log of predictions: `python -m benchmarks.unlogged run inference …`.

Everything is the product's own code but for one call, which here does nothing: what the log costs is the
difference between the two.
"""

from __future__ import annotations

import sys
from typing import Any

from penstock import cli
from penstock.inference.log import PredictionLog


def _nothing(*_: Any) -> None: ...


if __name__ == "__main__":
    PredictionLog.__call__ = _nothing  # type: ignore[method-assign,assignment]  # the benchmark's one change
    sys.exit(cli.main(sys.argv[1:]))
