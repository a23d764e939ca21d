"""The benchmark of inference measures: one short round, through the real processes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.inference import TARGETS
from benchmarks.inference_stream import figures
from tests.docs.tables import DOCS


@pytest.mark.e2e
def test_one_flat_json_object() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.inference", "--json", "--rounds", "1", "--seconds", "0.2"],
        cwd=DOCS.parent,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(ended.stdout)
    assert all(isinstance(value, int | float) for value in figures.values()), "flat, numbers alone"
    ours = {name for name in TARGETS if not name.startswith("stream_scoring")}
    assert ours <= set(figures)
    positive = {"p50_vs_echo", "throughput_vs_echo", "stream_vs_unary"}
    positive |= {"batch32_rows_per_s", "messages_per_s_stream", "swaps", "rss_mb", "seconds"}
    positive |= {f"p50_us_{n}" for n in (1, 16, 64)} | {f"requests_per_s_{n}" for n in (1, 16, 64)}
    assert all(figures[name] > 0 for name in positive)
    assert figures["log_overhead"] < 1


@pytest.mark.e2e
def test_stream_scoring_is_measured() -> None:
    found = figures(rounds=1, rows=2000)
    assert {name for name in TARGETS if name.startswith("stream_scoring")} <= set(found)
    assert all(value > 0 for value in found.values())
