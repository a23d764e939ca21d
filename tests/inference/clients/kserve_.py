"""Asks with KServe's own client, as it comes from PyPI, and prints what it saw as JSON; see triton.py."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import (  # type: ignore[import-not-found]  # it is not installed where Penstock is
    InferenceGRPCClient,
    InferInput,
    InferRequest,
)

MODEL = "trips"
ROW = [12.5, 2.0, 1.0, 12.0, 0.0]


def request(raw: bool, id_: str) -> Any:
    """Two rows in one tensor, in raw form or typed."""
    tensor = InferInput("features", [2, len(ROW)], "FP32")
    tensor.set_data_from_numpy(np.array([ROW, ROW], dtype=np.float32), binary_data=raw)
    return InferRequest(model_name=MODEL, infer_inputs=[tensor], request_id=id_)


async def main(url: str) -> dict[str, Any]:
    client = InferenceGRPCClient(url=url)
    found: dict[str, Any] = {
        "live": await client.is_server_live(),
        "ready": await client.is_server_ready(),
        "model_ready": await client.is_model_ready(MODEL),
    }
    for form, raw in (("typed", False), ("raw", True)):
        said = await client.infer(request(raw, form))
        [scores] = said.outputs
        found[form] = [said.id, said.model_version, scores.as_numpy().tolist()]
    await client.close()
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1]))))
