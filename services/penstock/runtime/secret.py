"""Secrets that come as files, such as containers get them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock.runtime.settings import WrongSetting

if TYPE_CHECKING:
    from pathlib import Path

_SHORTEST: Final = 16


def read_key(path: Path | None, *, variable: str) -> bytes | None:
    """The key in a file, without the line's end; None where no file is named.

    Args:
        path: of the file.
        variable: the setting that names it, for the message.

    Raises:
        WrongSetting: it cannot be read, or is so short that it can be guessed.
    """
    if path is None:
        return None
    try:
        key = path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        message = f"{variable} names {str(path)!r}, which cannot be read: {error.strerror}"
        raise WrongSetting(message, field=variable, reason="setting") from error
    if len(key) < _SHORTEST:
        message = (
            f"{variable} names {str(path)!r}, which has {len(key)} bytes: a key has {_SHORTEST} at least"
        )
        raise WrongSetting(message, field=variable, reason="setting")
    return key
