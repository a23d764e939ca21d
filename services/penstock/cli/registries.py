"""The schema registries as a verb reaches them: by the same settings as ingest, and without waiting."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from penstock.runtime.wire.settings import RegistrySettings

if TYPE_CHECKING:
    from penstock.runtime.wire import Registries


def registries_here() -> Registries:
    """Those of the environment; an id that a registry does not know is unknown at once.

    Raises:
        WrongSetting: a setting about them is wrong.
    """
    return RegistrySettings.read(os.environ).registries(wait=0)
