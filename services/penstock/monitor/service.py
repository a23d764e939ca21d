"""Monitor: is the model still right?"""

from __future__ import annotations

from penstock.monitor.core import MonitorCore
from penstock.monitor.faust.serve import serve
from penstock.monitor.settings import MonitorSettings


def main(settings: MonitorSettings) -> None:
    """Run until told to stop."""
    serve(settings, MonitorCore)
