"""Which processors models run on is a list that is checked before anything runs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from penstock.inference.cpus import cpus_of
from penstock.onnx import Model, digest_of
from penstock.runtime.settings import WrongSetting
from tests.inference.running import until
from tests.inference.test_inference_memory import net

MINE = sorted(os.sched_getaffinity(0))


@pytest.mark.parametrize("text", ["", " ", ",", " , "])
def test_nothing_is_any_processor(text: str) -> None:
    assert cpus_of(text) == frozenset()


def test_numbers_and_ranges() -> None:
    first = MINE[0]
    assert cpus_of(f"{first}, {first}-{first},") == {first}


@pytest.mark.parametrize("text", ["x", "-1", "3-2", "1;2", "1-2-3", "99999"])
def test_what_is_no_list_is_one_line(text: str) -> None:
    with pytest.raises(WrongSetting, match="expected processors such as 2-5,7"):
        cpus_of(text)


def test_a_processor_that_is_not_there_is_named() -> None:
    with pytest.raises(WrongSetting, match=r"names processor 4321, this process may run on \d"):
        cpus_of(f"{MINE[0]},4321")


def _affinities() -> list[set[int]]:
    """Of every thread of this process."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        try:
            found.append(os.sched_getaffinity(int(task.name)))
        except ProcessLookupError:  # it has ended meanwhile
            continue
    return found


@pytest.mark.skipif(len(MINE) < 2, reason="one processor is all there is")
def test_the_runtimes_own_threads_stay_where_they_are_told() -> None:
    last = MINE[-1]
    before = _affinities().count({last})
    artifact = net(1)
    model = Model.load(artifact, digest=digest_of(artifact), threads=3, cpus=[last])
    assert model.run(np.zeros((64, model.features), dtype=np.float32)).shape == (64, 1)
    until(lambda: _affinities().count({last}) == before + 2)  # each sets its own, once it runs
