"""Governor: what should be done?"""

from __future__ import annotations

from penstock.governor.settings import GovernorSettings
from penstock.governor.task import GovernorTask
from penstock.runtime.serve import serve


def main(settings: GovernorSettings) -> None:
    """Run until told to stop."""
    serve("governor", settings, [GovernorTask])
