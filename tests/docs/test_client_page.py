"""Everything that docs/client.md shows in Python is run, against a server in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.docs.tables import DOCS

TEXT = (DOCS / "client.md").read_text(encoding="utf-8")


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_what_the_page_shows_runs() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.client.process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        code = "\n".join(blocks()).replace("127.0.0.1:8001", address)
        ended = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
        )
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(30)
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
