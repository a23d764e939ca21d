"""What tests of the wire formats share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.wire.fake import FakeRegistry, registry
from tests.wire.orders import ORDER
from tests.wire.written import GUID

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def shop() -> Iterator[FakeRegistry]:
    """A registry that knows the order, by a number and by a GUID."""
    with registry() as there:
        there.knows(7, ORDER)
        there.knows(GUID, ORDER)
        yield there
