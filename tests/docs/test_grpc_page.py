"""docs/grpc.md shows a request that is answered, and says what the server does."""

from __future__ import annotations

import json
import re
import typing

import pytest
from google.protobuf.json_format import Parse

from penstock.contracts import oip_pb2
from penstock.inference import faults, metadata, parameters
from penstock.inference.domain import Loaded, Serving
from penstock.inference.oip import LONGEST_ID, infer
from penstock.inference.servicer import MESSAGE_LIMIT, SERVICE
from penstock.inference.settings import InferenceSettings
from penstock.inference.tensors import MAX_ROWS
from penstock.kernel.pipeline import Pipeline
from tests.docs.tables import DOCS
from tests.inference.asking import CHANCE, Adds, response, scores_of
from tests.registry.given import route

TEXT = (DOCS / "grpc.md").read_text(encoding="utf-8")
CHURN = Pipeline.read(
    {
        "pipeline": "churn",
        "task": "binary",
        "events": {"topic": "crm.events", "id": "event_id", "time": "at"},
        "labels": {
            "topic": "crm.outcomes",
            "id": "event_id",
            "time": "at",
            "value": "churned",
            "horizon": "30d",
        },
        "features": {
            "age": "number",
            "visits": "number",
            "plan": {"category": ["free", "plus", "pro"]},
            "weekday": {"weekday": "at"},
        },
    }
)


def serving() -> Serving:
    return Serving(
        pipeline=CHURN,
        route=route(),
        models={0: Loaded(version=0, features=CHURN.feature_names, model=Adds())},
    )


def shown() -> str:
    [block] = re.findall(r"^```json\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert isinstance(block, str)
    return block


def test_the_request_is_answered() -> None:
    request = Parse(shown(), oip_pb2.ModelInferRequest())
    answer, served = infer({"churn": serving()}, request.SerializeToString(), CHANCE)
    said = response(answer)
    assert (said.id, said.model_version, said.parameters["role"].string_param) == ("web-1", "0", "champion")
    assert scores_of(said) == [[41 + 3]]  # age, the code of pro, a Monday, and visits are missing
    assert served.asked.times == (1_772_440_200_000,)


def test_a_name_that_is_none_is_refused_by_that_name() -> None:
    fields = json.loads(shown())
    fields["inputs"][0]["name"] = "agee"
    request = Parse(json.dumps(fields), oip_pb2.ModelInferRequest())
    with pytest.raises(faults.Fault, match="tensor 'agee' is no feature") as refused:
        infer({"churn": serving()}, request.SerializeToString(), CHANCE)
    assert refused.value.code == "INVALID_ARGUMENT"


def test_every_status_is_on_the_page() -> None:
    _, _, section = TEXT.partition("\n## What can go wrong\n")
    on_page = set(re.findall(r"^\| `([A-Z_]+)` \|", section.partition("\n## ")[0], re.MULTILINE))
    assert on_page == set(typing.get_args(faults.Code))


def test_the_limits_are_those_of_the_code() -> None:
    limits = dict(re.findall(r"^\| ([a-z][^|`]*) \| ([\d,]+)", TEXT.partition("| Limit |")[2], re.MULTILINE))
    assert {name: int(number.replace(",", "")) for name, number in limits.items()} == {
        "a request or a response": MESSAGE_LIMIT / 2**20,
        "rows in a request": MAX_ROWS,
        "characters of an id": LONGEST_ID,
        "parameters of your own in a request": parameters.MOST,
        "characters of a parameter's name": parameters.LONGEST_NAME,
        "characters of a parameter's value": parameters.LONGEST_VALUE,
        "calls at once": InferenceSettings().concurrency,
    }


def test_the_names_are_those_of_the_code() -> None:
    assert SERVICE in TEXT
    assert "ModelMetadata" in metadata.CALLS
    assert InferenceSettings().listen.endswith(":8001")
