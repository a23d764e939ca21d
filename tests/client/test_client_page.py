"""Everything that docs/client.md shows in Python is run, against a server in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.docs.tables import DOCS

if TYPE_CHECKING:
    from tests.client.conftest import Serving

TEXT = (DOCS / "client.md").read_text(encoding="utf-8")


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_what_the_page_shows_runs(serving: Serving) -> None:
    code = "\n".join(blocks()).replace("127.0.0.1:8001", serving.address)
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    first, *rest = ended.stdout.splitlines()
    assert re.fullmatch(r"0\.\d+ 1 champion", first)
    assert [line.split()[0] for line in rest[:100]] == [f"trip-{n}" for n in range(100)]
    attributed = rest[100:104]
    assert [line.split()[0] for line in attributed] == ["distance", "line", "rush", "hour"]
    assert all(re.fullmatch(r"\w+ [+-]\d+\.\d{3}", line) for line in attributed)
    assert rest[104] == first.split()[0], "asyncio answers as everybody"
    status, fields = rest[105].split(" ", 1)
    assert status == "INVALID_ARGUMENT"
    assert fields == "('distance',) tensor 'distance' is BYTES, expected a numeric type"


def test_every_block_is_run() -> None:
    assert len(blocks()) == TEXT.count("```python") == 6
