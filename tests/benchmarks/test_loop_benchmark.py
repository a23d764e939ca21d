"""The benchmark of the loop measures: one training of few rows, through the real processes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.docs.tables import DOCS


@pytest.mark.e2e
def test_one_flat_json_object() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.loop", "--json", "--trainings", "1", "--rows", "1000"],
        cwd=DOCS.parent,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(ended.stdout)
    assert all(isinstance(value, int | float) for value in figures.values()), "flat, numbers alone"
    assert (figures["rows"], figures["trainings"], figures["target_s"]) == (1000, 1, 2.0)
    legs = [figures[f"{leg}_s"] for leg in ("decision_to_candidate", "candidate_to_route", "route_to_shadow")]
    assert min(legs) >= 0
    assert 0 < figures["decision_to_shadow_s"] <= figures["decision_to_shadow_max_s"]
    assert sum(legs) == pytest.approx(figures["decision_to_shadow_s"], abs=0.01)
    assert figures["train_cpu_s"] > 0.05
    assert figures["decision_to_shadow_first_s"] > 0
    assert figures["seconds"] > 0
