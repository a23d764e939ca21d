"""A key that comes as a file, and what is said where it is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from penstock.runtime.secret import read_key
from penstock.runtime.settings import WrongSetting

VARIABLE = "PENSTOCK_PII_KEY_FILE"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_key_is_the_file_without_the_end_of_its_line(end: bytes, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"\x00 a key of 18 bytes" + end)
    assert read_key(file, variable=VARIABLE) == b"\x00 a key of 18 bytes"
    assert read_key(None, variable=VARIABLE) is None


def test_a_file_that_is_not_there_or_too_short_is_one_line(tmp_path: Path) -> None:
    missing, short = tmp_path / "missing", tmp_path / "short"
    short.write_text("secret\n")
    for file, why in (
        (missing, "which cannot be read: No such file or directory"),
        (tmp_path, "which cannot be read: Is a directory"),
        (short, "which has 6 bytes: a key has 16 at least"),
    ):
        message = f"{VARIABLE} names {str(file)!r}, {why}"
        with pytest.raises(WrongSetting, match=f"^{re.escape(message)}$"):
            read_key(file, variable=VARIABLE)
