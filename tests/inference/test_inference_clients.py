"""Other people's clients, as they come from PyPI, against a real process: Triton's, KServe's, perf_analyzer.

They need other versions of protobuf than Penstock does, so they are installed into environments of their own;
only PENSTOCK_PROVE=1 takes that long. What they ask is in tests/inference/clients.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.replica import Registry, Server
from penstock.contracts.records import Prediction
from tests.inference.asking import NAMES, PIPELINE
from tests.inference.replicas import read_log, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(
        "PENSTOCK_PROVE" not in os.environ, reason="installs other people's clients: PENSTOCK_PROVE=1"
    ),
]

CLIENTS: Final = Path(__file__).parent / "clients"
PACKAGES: Final = ("tritonclient[grpc]==2.73.0", "kserve==0.21.0")
# The last wheel with the program in it; it links to two libraries that it uses for shared memory alone.
PERF_ANALYZER: Final = ("tritonclient==2.41.0", "nvidia-cuda-runtime-cu12==12.9.79")
BASE64: Final = """
void base64_init_encodestate(void *s) {}
void base64_init_decodestate(void *s) {}
int base64_encode_block(const char *a, int b, char *c, void *d) { return 0; }
int base64_encode_blockend(char *c, void *d) { return 0; }
int base64_decode_block(const char *a, int b, char *c, void *d) { return 0; }
"""
ROW: Final = [12.5, 2.0, 1.0, 12.0, 0.0]


def adds(offset: float) -> bytes:
    """A model whose score is the sum of the row, missing values being 0, plus an offset."""
    constants = {"zero": np.zeros(1), "offset": np.array([offset])}
    nodes = [
        helper.make_node("IsNaN", ["features"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "features"], ["known"]),
        helper.make_node("ReduceSum", ["known", "axes"], ["sum"], keepdims=1),
        helper.make_node("Add", ["sum", "offset"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "adds",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(NAMES)])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 1])],
        [
            *(numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()),
            numpy_helper.from_array(np.array([1]), "axes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    artifact: bytes = model.SerializeToString()
    return artifact


@pytest.fixture(scope="module")
def registry(kafka: str) -> Iterator[Registry]:
    """Version 1 is champion, version 2 a shadow."""
    made = Registry(kafka, prefix=f"t{uuid.uuid4().hex[:12]}.", pipeline=PIPELINE)
    made.register(1, adds(0.0))
    made.register(2, adds(1000.0))
    made.serve(1, shadows=(2,))
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(registry: Registry) -> Iterator[Server]:
    with Server.inference(registry) as up:
        yield up
    assert not [line for line in up.lines if '"level": "error"' in line]


def environment(folder: Path, *packages: str, bare: bool = False) -> Path:
    """A Python with some packages in it; with nothing that these need where it is to be bare."""
    uv = str(Path(sys.executable).parent / "uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = folder / "bin" / "python"
    extra = ["--no-deps"] if bare else []
    subprocess.run([uv, "pip", "install", "--quiet", *extra, "--python", str(python), *packages], check=True)
    return python


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("clients") / "env", *PACKAGES)


def saw(python: Path, script: str, server: Server) -> Any:
    """What a client prints; it must not find Penstock's own packages."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GRPC_"))}
    done = subprocess.run(
        [str(python), str(CLIENTS / script), server.address],
        env=clean,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_tritonclient(python: Path, server: Server, registry: Registry) -> None:
    found = saw(python, "triton.py", server)
    said = found["sync"]
    assert (said["live"], said["ready"], said["model_ready"], said["server"]) == (
        True,
        True,
        [True, True],
        "penstock",
    )
    assert [each["name"] for each in said["metadata"]["inputs"]] == list(NAMES)
    assert said["config"] == ["onnxruntime_onnx", list(NAMES)]
    assert said["index"] == [["trips", "1", "READY"], ["trips", "2", "READY"]]
    assert said["packed"] == {
        "id": "a",
        "version": "1",
        "role": "champion",
        "epoch": 1,
        "scores": [[27.5], [27.5]],
    }
    for pinned in (said["pinned"], said["header"]):
        assert (pinned["version"], pinned["role"], pinned["scores"]) == ("2", "shadow", [[1027.5]])
    assert len(said["datatypes"]) == 11
    assert all(scores == [[10.0], [12.0]] for scores in said["datatypes"].values())
    assert said["outputs"] == {"model_version": [1, 1], "role": ["champion"] * 2, "id": ["b/0", "b/1"]}
    assert said["parameters"]["scores"] == [[13.0]]  # the distance, and noon
    assert said["compressed"]["scores"] == said["callback"][0] == [[27.5]]
    assert {name: each[0] for name, each in said["refused"].items()} == {
        "shape": "StatusCode.INVALID_ARGUMENT",
        "name": "StatusCode.INVALID_ARGUMENT",
        "model": "StatusCode.NOT_FOUND",
        "version": "StatusCode.NOT_FOUND",
        "output": "StatusCode.INVALID_ARGUMENT",
        "statistics": "StatusCode.UNIMPLEMENTED",
    }
    assert said["refused"]["name"][1].endswith("(did you mean 'distance'?)")
    assert said["stream"] == ["s0", "s1", "s2", "NOT_FOUND: no pipeline 'trip' (did you mean 'trips'?)", "s4"]
    assert found["aio"]["ready"] is True
    assert found["aio"]["many"] == sorted(f"c{number}" for number in range(20))
    assert found["aio"]["stream"] == ["a0", "a1", "a2"]
    # What it passed beside its tensors is in the record.
    logged = said["parameters"]["id"]
    until(lambda: logged in read_log(registry).ids)
    rows = registry.codec.rows(Prediction, PIPELINE.name, PIPELINE.features_digest, PIPELINE.feature_names)
    heads = [registry.codec.decode(value).value for value in read_log(registry).values]
    [record] = [head for head in heads if head.id == logged]
    assert rows.names == NAMES
    assert record.parameters == {"tenant": "north", "weight": "2"}


def test_kserve(python: Path, server: Server) -> None:
    assert saw(python, "kserve_.py", server) == {
        "live": True,
        "ready": True,
        "model_ready": True,
        "typed": ["typed", "1", [[27.5], [27.5]]],
        "raw": ["raw", "1", [[27.5], [27.5]]],
    }


@pytest.fixture(scope="module")
def perf_analyzer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The program, and where it finds its libraries."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("perf_analyzer links to a library that is made here, and there is no compiler")
    folder = tmp_path_factory.mktemp("perf")
    python = environment(folder / "env", *PERF_ANALYZER, bare=True)
    source = folder / "base64.c"
    source.write_text(BASE64)
    library = folder / "libb64.so.0d"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    [cuda] = folder.rglob("libcudart.so.12")
    return python.parent / "perf_analyzer", {"LD_LIBRARY_PATH": f"{folder}:{cuda.parent}"}


@pytest.mark.parametrize("way", [["-b", "4"], ["--streaming", "--async"]], ids=["calls", "streams"])
def test_perf_analyzer(perf_analyzer: tuple[Path, dict[str, str]], server: Server, way: list[str]) -> None:
    program, libraries = perf_analyzer
    # It is to be understood, not measured: any two windows are alike enough.
    windows = ["--measurement-mode", "count_windows", "--measurement-request-count", "100"]
    done = subprocess.run(
        [str(program), "-m", "trips", "-i", "grpc", "-u", server.address, *windows, "-s", "999", *way],
        env={**os.environ, **libraries},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Concurrency: 1, throughput: " in done.stdout
