"""Registry: which version is what, since when, and why?"""

from __future__ import annotations

from penstock.registry.settings import RegistrySettings
from penstock.registry.task import RegistryTask
from penstock.runtime.serve import serve


def main(settings: RegistrySettings) -> None:
    """Run until told to stop."""
    serve("registry", settings, [RegistryTask])
