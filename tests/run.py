"""Everything `make test` runs: `python -m tests.run [PYTEST ARGUMENTS]`. Fast tests first, one Kafka for all.

A later stage does not begin after one that failed: what is broken without a broker is broken with one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from penstock.broker import EmbeddedKafka
from tests.conftest import GIVEN

WORKERS = os.environ.get("PENSTOCK_TEST_WORKERS", "2")


def main(arguments: list[str]) -> int:
    """The exit code of the first stage that failed."""
    code = _stage(
        "fast",
        ["-m", "not kafka and not e2e", "-n", WORKERS, "--doctest-modules", "services", "tests"],
        arguments,
    )
    if code:
        return code
    with (
        tempfile.TemporaryDirectory(prefix="penstock-test-") as folder,
        EmbeddedKafka(Path(folder) / "kafka") as kafka,
    ):
        os.environ[GIVEN] = kafka.bootstrap
        code = _stage("kafka", ["-m", "kafka and not e2e", "-n", WORKERS, "tests"], arguments)
    del os.environ[GIVEN]
    # Whole systems, one after the other: each wants both cores.
    return code or _stage("end to end", ["-m", "e2e", "tests"], arguments)


def _stage(name: str, chosen: list[str], arguments: list[str]) -> int:
    print(f"== {name}", flush=True)
    began = time.monotonic()
    code = subprocess.run([sys.executable, "-m", "pytest", *chosen, *arguments], check=False).returncode
    print(f"== {name}: {time.monotonic() - began:.0f} s", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
