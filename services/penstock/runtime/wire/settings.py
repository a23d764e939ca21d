"""How a process is told to reach schema registries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from penstock.runtime.settings import Between, Seconds, Settings, WrongSetting
from penstock.runtime.wire.client import Access
from penstock.runtime.wire.registries import WAIT, Registries


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings(Settings):
    """Of a process that reads producers' topics."""

    registry_url: str = ""
    """The schema registry that the credentials below are for. They are sent to no other, whatever URL a
    pipeline file names."""

    registry_user: str = ""
    """The user's name, or API key, at that registry."""

    registry_password_file: Path | None = None
    """The file of the user's password, or API secret. It is read anew for each question."""

    registry_token_file: Path | None = None
    """The file of a bearer token, instead of user and password."""

    registry_ca_file: Path | None = None
    """Certificates of the authorities that registries are trusted by, instead of the system's."""

    registry_timeout: Annotated[float, Between(0.1, 60)] = 5.0
    """Seconds that a schema registry has for an answer, connecting included."""

    schema_wait: Seconds = WAIT
    """Seconds that a schema's id which the registry does not know is waited for; then the records that name
    it are dead letters."""

    def registries(self, *, wait: float | None = None) -> Registries:
        """The schema registries, reached as these settings say.

        Args:
            wait: for unknown ids, instead of the set time.

        Raises:
            WrongSetting: credentials without the registry they are for, or of two kinds.
        """
        secret = self.registry_user or self.registry_token_file
        if secret and not self.registry_url:
            message = "credentials are set, but not PENSTOCK_REGISTRY_URL, the registry they are for"
            raise WrongSetting(message, field="PENSTOCK_REGISTRY_URL", reason="setting")
        if self.registry_user and self.registry_token_file:
            message = "both PENSTOCK_REGISTRY_USER and PENSTOCK_REGISTRY_TOKEN_FILE are set: use one"
            raise WrongSetting(message, field="PENSTOCK_REGISTRY_TOKEN_FILE", reason="setting")
        for name in ("registry_password_file", "registry_token_file", "registry_ca_file"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                variable = f"PENSTOCK_{name.upper()}"
                message = f"{variable} names {str(path)!r}, which is no file"
                raise WrongSetting(message, field=variable, reason="setting")
        access = Access(
            url=self.registry_url,
            user=self.registry_user,
            password_file=self.registry_password_file,
            token_file=self.registry_token_file,
            ca_file=self.registry_ca_file,
            seconds=self.registry_timeout,
        )
        return Registries(access, wait=self.schema_wait if wait is None else wait)
