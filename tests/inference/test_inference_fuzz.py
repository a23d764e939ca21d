"""Callers that send anything: each request gets a status, and the process stays.

PENSTOCK_PROVE=1 sends thousands; the code is the same.
"""

from __future__ import annotations

import os
import random
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from penstock.contracts import oip_pb2
from penstock.inference.servicer import MESSAGE_LIMIT, SERVICE
from tests.inference.replicas import FEATURES, replica_of

import grpc  # type: ignore[import-untyped]  # isort: skip  # it ships no types

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.kafka

MALFORMED = 5000 if os.environ.get("PENSTOCK_PROVE") else 400
KNOWN = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED"}
ODD_SHAPES = [0, -1, 1, 2**31, 2**62, -(2**63)]
ODD_TYPES = ["", "FP16", "BYTES", "BOOL", "INT64", "fp32", "BF16", "\x00"]
ODD_NUMBERS = [float("nan"), float("inf"), -float("inf"), 3e38, -0.0, 1e-45]
ODD_NAMES = ["", "benchh", "x" * 10_000, "bench/1", "ß" * 300]
ODD_VERSIONS = ["-1", "999999", "one", "9" * 5000, "1.0", " 1"]
ODD_TIMES = ["", "soon", "9999999999999999", "1e400"]


def good(chance: random.Random) -> Any:
    """A request that is answered."""
    message = oip_pb2.ModelInferRequest(model_name="bench", id=f"fuzz-{chance.random()}")
    message.inputs.add(name="features", datatype="FP32", shape=[1, FEATURES])
    message.raw_input_contents.append(bytes(4 * FEATURES))
    return message


def shape(message: Any, chance: random.Random) -> None:
    message.inputs[0].shape[:] = [chance.choice(ODD_SHAPES) for _ in range(chance.randrange(5))]


def datatype(message: Any, chance: random.Random) -> None:
    message.inputs[0].datatype = chance.choice(ODD_TYPES)


def numbers(message: Any, chance: random.Random) -> None:
    message.raw_input_contents[0] = struct.pack(f"<{FEATURES}f", *chance.choices(ODD_NUMBERS, k=FEATURES))


def length(message: Any, chance: random.Random) -> None:
    message.raw_input_contents[0] = chance.randbytes(chance.randrange(4 * FEATURES + 3))


def name(message: Any, chance: random.Random) -> None:
    message.model_name = chance.choice(ODD_NAMES)


def tensor(message: Any, chance: random.Random) -> None:
    message.inputs[0].name = chance.choice(ODD_NAMES)


def version(message: Any, chance: random.Random) -> None:
    message.model_version = chance.choice(ODD_VERSIONS)


def both_forms(message: Any, chance: random.Random) -> None:
    message.inputs[0].contents.bytes_contents.extend([chance.randbytes(3)] * chance.randrange(1, 4))


def more_tensors(message: Any, chance: random.Random) -> None:
    for number in range(chance.randrange(1, 50)):
        message.inputs.add(
            name=f"n{number:02d}" * chance.choice([1, 500]), datatype="FP32", shape=[chance.randrange(3)]
        )


def parameters(message: Any, chance: random.Random) -> None:
    message.parameters["event_time"].string_param = chance.choice(ODD_TIMES)
    message.parameters["explain"].double_param = float("nan")


SPOILERS: list[Callable[[Any, random.Random], None]] = [
    shape,
    datatype,
    numbers,
    length,
    name,
    tensor,
    version,
    both_forms,
    more_tensors,
    parameters,
]


def malformed(chance: random.Random) -> bytes:
    """A request with something wrong, or odd, about it."""
    if not chance.randrange(12):
        return chance.randbytes(chance.randrange(200))
    message = good(chance)
    if chance.randrange(4):
        chance.choice(SPOILERS)(message, chance)
        return bytes(message.SerializeToString())
    body = bytearray(message.SerializeToString())
    for _ in range(chance.randrange(1, 6)):
        body[chance.randrange(len(body))] = chance.randrange(256)
    at, to = sorted(chance.choices(range(len(body)), k=2))
    return bytes(body[:at] + body[to:] + body[at:to] * chance.randrange(3))


def huge(chance: random.Random, size: int) -> bytes:
    """At the limit of what is taken at all, or beyond it."""
    message = good(chance)
    message.raw_input_contents[0] = bytes(size - 100)
    return bytes(message.SerializeToString())


def status(call: Any, body: bytes) -> str:
    """What a call ended with; a refusal says why."""
    try:
        call(body, timeout=20)
    except grpc.RpcError as error:
        return error.code().name if error.details() else "UNEXPLAINED"
    return "OK"


def test_whatever_is_sent_gets_a_status_and_the_server_stays(kafka: str) -> None:
    seed = random.randrange(2**32)  # noqa: S311 - it is printed, to be tried again with
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311 - as above
    bodies = [malformed(chance) for _ in range(MALFORMED)]
    bodies += [huge(chance, size) for size in (MESSAGE_LIMIT // 2, MESSAGE_LIMIT, MESSAGE_LIMIT + 1000)]
    with replica_of(kafka) as (_, replica), grpc.insecure_channel(replica.address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        codes = Counter(status(call, body) for body in bodies)
        assert set(codes) == KNOWN, codes
        assert codes["INVALID_ARGUMENT"] > MALFORMED // 3

        # A stream says the same of each in its place, and goes on to its end.
        sent = [body for body in bodies if len(body) <= MESSAGE_LIMIT]
        stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(iter(sent), timeout=300)
        found = [oip_pb2.ModelStreamInferResponse.FromString(body) for body in stream]
        told = Counter(message.error_message.partition(":")[0] or "OK" for message in found)
        assert told == {code: count for code, count in codes.items() if code != "RESOURCE_EXHAUSTED"}

        after = oip_pb2.ModelInferResponse.FromString(call(good(chance).SerializeToString(), timeout=20))
        assert after.id.startswith("fuzz-")
        assert not replica.said("call_failed")
