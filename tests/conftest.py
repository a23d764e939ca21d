"""What all tests share: one real Kafka for all that need it, and names of a test's own."""

from __future__ import annotations

import os
import signal
import uuid
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where `python -m tests.run` has a broker running for all its workers.
GIVEN = "PENSTOCK_TEST_BROKER"


def pytest_configure() -> None:
    """Processes that tests start are told to stop by SIGINT too.

    A shell has what it starts in the background ignore that signal, and whatever is started from there.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of a Kafka for this session; tests on it are to be marked `kafka`.

    It is the one that the runner handed over, or else one of this process's own. It is shared: a test uses
    names that begin with its `prefix`, and does not stop it (`EmbeddedKafka` gives one that may be killed).
    """
    given = os.environ.get(GIVEN)
    if given:
        yield given
        return
    from penstock.broker import EmbeddedKafka  # noqa: PLC0415 - most tests never start one

    with EmbeddedKafka(tmp_path_factory.mktemp("kafka")) as embedded:
        yield embedded.bootstrap


@pytest.fixture
def prefix() -> str:
    """What the names of this test's topics, groups and transactions begin with."""
    return f"t{uuid.uuid4().hex[:12]}."


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for the broker is marked so, and cannot forget it."""
    for item in items:
        if "kafka" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kafka)
