"""The schema registries that the pipelines of a process name, each asked by one and remembered for all."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from penstock.runtime.wire.client import Access
from penstock.runtime.wire.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT = 10.0
"""Seconds that an id no registry knows is waited for, unless told otherwise."""


class Registries:
    """Makes and keeps them, by URL.

    Args:
        access: how to reach them.
        wait: seconds that an id that one does not know is waited for.
        clock: seconds, from anywhere.

    >>> registries = Registries()
    >>> registries.at("http://registry:8081") is registries.at("http://registry:8081")
    True
    """

    def __init__(
        self, access: Access | None = None, *, wait: float = WAIT, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._access = access or Access()
        self._wait = wait
        self._clock = clock
        self._known: dict[str, Registry] = {}

    def at(self, url: str) -> Registry:
        """The registry of this URL."""
        if url not in self._known:
            self._known[url] = Registry(url, self._access, wait=self._wait, clock=self._clock)
        return self._known[url]
