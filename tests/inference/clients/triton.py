"""Asks with NVIDIA's `tritonclient`, as it comes from PyPI, and prints what it saw as JSON.

Run in an environment of its own: it needs another protobuf than Penstock does.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton  # type: ignore[import-not-found]  # see above
import tritonclient.grpc.aio as triton_aio  # type: ignore[import-not-found]  # see above
from tritonclient.utils import InferenceServerException  # type: ignore[import-not-found]  # see above

MODEL = "trips"
ROW = [12.5, 2.0, 1.0, 12.0, 0.0]
NUMBERS = ["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64"]
DTYPES = {
    **{name: name.lower() for name in NUMBERS if name.startswith(("INT", "UINT"))},
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BOOL": "bool",
    "BYTES": "object",
}


def tensor(kind: Any, name: str, datatype: str, values: Any) -> Any:
    made = kind.InferInput(name, [len(values)], datatype)
    made.set_data_from_numpy(np.array(values, dtype=DTYPES[datatype]))
    return made


def packed(kind: Any, *rows: list[float]) -> Any:
    made = kind.InferInput("features", [len(rows), len(rows[0])], "FP32")
    made.set_data_from_numpy(np.array(rows, dtype=np.float32))
    return made


def named(kind: Any, datatype: str = "FP32") -> list[Any]:
    """Two rows, a tensor for each feature."""
    return [
        tensor(kind, "distance", datatype, [7, 8]),
        tensor(kind, "line", "BYTES", [b"green", b"red"]),
        tensor(kind, "rush", "BOOL", [True, False]),
        tensor(kind, "hour", "FP32", [0, 0]),
        tensor(kind, "planned_hour", "FP32", [np.nan, 3]),
    ]


def answer(result: Any) -> dict[str, Any]:
    said = result.get_response()
    return {
        "id": said.id,
        "version": said.model_version,
        "role": said.parameters["role"].string_param,
        "epoch": said.parameters["route_epoch"].int64_param,
        "scores": result.as_numpy("scores").tolist(),
    }


def refusal(call: Any) -> list[str]:
    try:
        call()
    except InferenceServerException as error:
        return [str(error.status()), str(error.message())]
    return []


def sync(url: str) -> dict[str, Any]:
    client = triton.InferenceServerClient(url)
    index = client.get_model_repository_index(as_json=True)["models"]
    config = client.get_model_config(MODEL, as_json=True)["config"]
    found = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": [client.is_model_ready(MODEL), client.is_model_ready(MODEL, "2")],
        "server": client.get_server_metadata(as_json=True)["name"],
        "metadata": client.get_model_metadata(MODEL, as_json=True),
        "config": [config["platform"], [each["name"] for each in config["input"]]],
        "index": sorted([each["name"], each["version"], each["state"]] for each in index),
        "packed": answer(client.infer(MODEL, [packed(triton, ROW, ROW)], request_id="a")),
        "pinned": answer(client.infer(MODEL, [packed(triton, ROW)], model_version="2")),
        "header": answer(client.infer(MODEL, [packed(triton, ROW)], headers={"penstock-version": "2"})),
        "datatypes": {
            name: client.infer(MODEL, named(triton, name)).as_numpy("scores").tolist() for name in NUMBERS
        },
    }
    outputs = [triton.InferRequestedOutput(name) for name in ("model_version", "scores", "role", "id")]
    result = client.infer(MODEL, [packed(triton, ROW, ROW)], outputs=outputs, request_id="b")
    found["outputs"] = {
        "model_version": result.as_numpy("model_version").tolist(),
        **{name: [word.decode() for word in result.as_numpy(name).tolist()] for name in ("role", "id")},
    }
    parameters = {"event_time": "2013-01-01T12:00:00Z", "tenant": "north", "weight": 2}
    found["parameters"] = answer(
        client.infer(MODEL, [tensor(triton, "distance", "FP32", [1.0])], parameters=parameters)
    )
    found["compressed"] = answer(client.infer(MODEL, [packed(triton, ROW)], compression_algorithm="gzip"))
    found["refused"] = {
        "shape": refusal(lambda: client.infer(MODEL, [packed(triton, ROW[:3])])),
        "name": refusal(lambda: client.infer(MODEL, [tensor(triton, "distanse", "FP32", [1.0])])),
        "model": refusal(lambda: client.infer("trip", [packed(triton, ROW)])),
        "version": refusal(lambda: client.infer(MODEL, [packed(triton, ROW)], model_version="9")),
        "output": refusal(
            lambda: client.infer(MODEL, [packed(triton, ROW)], outputs=[triton.InferRequestedOutput("score")])
        ),
        "statistics": refusal(client.get_inference_statistics)[:1],
    }
    results: queue.Queue[Any] = queue.Queue()
    client.async_infer(MODEL, [packed(triton, ROW)], lambda result, error: results.put((result, error)))
    result, error = results.get(timeout=20)
    found["callback"] = [answer(result)["scores"], error]
    client.start_stream(lambda result, error: results.put((result, error)))
    for number in range(3):
        client.async_stream_infer(MODEL, [packed(triton, ROW)], request_id=f"s{number}")
    client.async_stream_infer("trip", [packed(triton, ROW)])
    client.async_stream_infer(MODEL, [packed(triton, ROW)], request_id="s4")
    streamed = [results.get(timeout=20) for _ in range(5)]
    client.stop_stream()
    found["stream"] = [
        answer(result)["id"] if error is None else error.message() for result, error in streamed
    ]
    client.close()
    return found


async def coroutines(url: str) -> dict[str, Any]:
    client = triton_aio.InferenceServerClient(url)

    async def requests() -> Any:
        for number in range(3):
            yield {
                "model_name": MODEL,
                "inputs": [packed(triton_aio, ROW)],
                "request_id": f"a{number}",
            }

    found = {
        "ready": await client.is_model_ready(MODEL),
        "many": sorted(
            answer(each)["id"]
            for each in await asyncio.gather(
                *(client.infer(MODEL, [packed(triton_aio, ROW)], request_id=f"c{n}") for n in range(20))
            )
        ),
        "stream": [answer(result)["id"] async for result, _ in client.stream_infer(requests())],
    }
    await client.close()
    return found


if __name__ == "__main__":
    print(json.dumps({"sync": sync(sys.argv[1]), "aio": asyncio.run(coroutines(sys.argv[1]))}))
