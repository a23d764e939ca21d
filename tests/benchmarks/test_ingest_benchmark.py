"""The benchmark of intake measures: one round of few rows of each kind, through the real processes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.docs.tables import DOCS


@pytest.mark.e2e
def test_one_flat_json_object() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.ingest", "--json", "--rounds", "1", "--rows", "4000", "--no-join"],
        cwd=DOCS.parent,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(ended.stdout)
    assert all(isinstance(value, int | float) for value in figures.values()), "flat, numbers alone"
    for suffix in ("", "_numbers", "_json", "_numbers_json"):
        assert (
            figures[f"intake_rows_per_s_per_core{suffix}"] > figures[f"naive_rows_per_s_per_core{suffix}"] > 0
        )
        assert figures[f"intake_vs_naive{suffix}"] > 1
        assert figures[f"intake_rows_per_s{suffix}"] > 0
    assert figures["decode_vs_fastavro"] > 1
    assert figures["encode_vs_fastavro"] > 1
    assert -5 < figures["eos_overhead"] < 1
    assert {"rounds", "rows_per_round", "cores", "seconds"} <= set(figures)
