"""One thread for the numerical libraries: several on busy cores are many times slower than one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # it ships no types


@cache
def _pools() -> Any:
    """The thread pools of this process: those of numpy, scipy and scikit-learn, which are loaded by then."""
    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the libraries' code on one thread and without their warnings, which nobody would read.

    What matters of the warnings is judged by what comes out: the gate judges a fit that did not converge.
    """
    with _pools().limit(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
