"""Artifacts on disk: whole or not at all, hashed when read, bounded, and never in the way of a load."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from penstock.inference import artifacts as module
from penstock.inference.artifacts import Artifacts
from penstock.inference.loader import AtOnce, Shelf
from penstock.onnx import digest_of
from tests.inference.test_inference_loader import Shop

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO, THREE = (letter * 400 for letter in (b"1", b"2", b"3"))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def name_of(body: bytes) -> str:
    return f"{digest_of(body)}.onnx"


def test_what_was_kept_is_found_by_another_process(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    Artifacts(folder, most=1000).keep(digest_of(ONE), ONE)
    assert Artifacts(folder, most=1000).find(digest_of(ONE), size=400) == ONE
    assert Artifacts(folder, most=1000).find(digest_of(TWO), size=400) is None
    assert names(folder) == {name_of(ONE)}


@pytest.mark.parametrize("damage", [b"", ONE[:-1], ONE[:-1] + b"x", ONE + b"x"])
def test_what_is_damaged_is_not_found_and_goes(tmp_path: Path, damage: bytes) -> None:
    artifacts = Artifacts(tmp_path, most=1000)
    artifacts.keep(digest_of(ONE), ONE)
    (tmp_path / name_of(ONE)).write_bytes(damage)
    assert artifacts.find(digest_of(ONE), size=400) is None
    assert names(tmp_path) == set()


@pytest.mark.parametrize("digest", ["", "x", "../" + "a" * 64, "A" * 64, "a" * 64 + "/../b"])
def test_a_digest_that_is_none_names_no_file(tmp_path: Path, digest: str) -> None:
    inner = tmp_path / "inner"
    artifacts = Artifacts(inner, most=1000)
    artifacts.keep(digest, ONE)
    assert artifacts.find(digest, size=400) is None
    assert names(tmp_path) == set()


def test_what_is_not_what_its_digest_says_is_not_kept(tmp_path: Path) -> None:
    Artifacts(tmp_path, most=1000).keep(digest_of(ONE), TWO)
    Artifacts(tmp_path, most=300).keep(digest_of(ONE), ONE)
    assert names(tmp_path) == set()


def test_the_longest_not_used_go_first(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path, most=1000)
    for age, body in ((100, ONE), (50, TWO)):
        artifacts.keep(digest_of(body), body)
        os.utime(tmp_path / name_of(body), (time.time() - age,) * 2)
    assert artifacts.find(digest_of(ONE), size=400) == ONE  # used again
    artifacts.keep(digest_of(THREE), THREE)
    assert names(tmp_path) == {name_of(ONE), name_of(THREE)}


def test_what_a_process_that_died_has_left_goes_and_what_another_one_writes_stays(tmp_path: Path) -> None:
    old, young = (tmp_path / f".{digest_of(ONE)}.{name}.part" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(ONE)
    os.utime(old, (time.time() - 7200,) * 2)
    Artifacts(tmp_path, most=400).keep(digest_of(TWO), TWO)
    assert names(tmp_path) == {young.name, name_of(TWO)}


KILLED = """
import os, sys
from pathlib import Path
from penstock.inference import artifacts
from penstock.onnx import digest_of
path = Path(sys.argv[1])
body = b"1" * 5_000_000
def dies(descriptor): os.kill(os.getpid(), 9)
artifacts.os.fsync = dies
artifacts.Artifacts(path, most=2**30).keep(digest_of(body), body)
"""


def test_a_process_that_dies_while_it_writes_leaves_nothing_that_is_found(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    body = b"1" * 5_000_000
    assert names(tmp_path)  # it had begun
    assert Artifacts(tmp_path, most=2**30).find(digest_of(body), size=len(body)) is None


def test_a_folder_that_cannot_be_used_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = tmp_path / "file"
    taken.write_bytes(b"")
    artifacts = Artifacts(taken, most=1000)
    artifacts.keep(digest_of(ONE), ONE)
    assert artifacts.find(digest_of(ONE), size=400) is None

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write", full)
    Artifacts(tmp_path / "new", most=1000).keep(digest_of(ONE), ONE)
    assert names(tmp_path / "new") == set()


def test_a_restart_reads_no_artifact_from_the_log(tmp_path: Path) -> None:
    for expected in ([0], []):
        shop = Shop(Shelf(AtOnce(), artifacts=Artifacts(tmp_path, most=2**20)))
        shop.model(0)
        shop.route(epoch=1, champion=0)
        assert sorted(shop.serving().models) == [0]
        assert shop.fetched == expected
