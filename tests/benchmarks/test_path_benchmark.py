"""The benchmark measures: one round of few rows, through the real processes, twice."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from penstock.cli.services import SERVICES
from tests.docs.tables import DOCS


@pytest.mark.e2e
def test_one_flat_json_object() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.path", "--json", "--rounds", "1", "--rows", "500"],
        cwd=DOCS.parent,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(ended.stdout)
    assert all(isinstance(value, int | float) for value in figures.values()), "flat, numbers alone"
    assert figures["rows_per_s"] > 0
    assert figures["rows_per_s_at_least_once"] > 0
    assert -5 < figures["eos_overhead"] < 1
    assert {f"rss_mb_{service.name}" for service in SERVICES} | {"rss_mb_kafka", "seconds"} <= set(figures)
    assert all(value > 10 for name, value in figures.items() if name.startswith("rss_mb_"))
