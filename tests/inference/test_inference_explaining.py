"""Parameters of a client's own, and answers that say why: over the wire, and in the log."""

from __future__ import annotations

import asyncio
import threading
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from penstock.contracts import oip_pb2
from penstock.contracts.records import Prediction
from penstock.inference import explaining, parameters
from penstock.inference.domain import Loaded, Scored, Serving
from penstock.inference.explaining import explained, sampled
from penstock.inference.faults import Fault
from penstock.inference.oip import Served, infer
from penstock.inference.sampling import Sampling
from penstock.kernel.policy import Task
from penstock.onnx import Explaining, Model, Unexplainable, digest_of
from penstock.trainer.export import constant, export
from penstock.trainer.fit import fit
from tests.inference.asking import CHANCE, NAMES, PIPELINE, Adds, packed, response, route, scores_of
from tests.inference.world import World, run

FloatMatrix = NDArray[np.float32]
WHY = {"parameters": {"explain": "true"}}
ROWS = [[12.5, 2.0, 1.0, 12.0, 0.0], [99.0, 0.0, 0.0, 3.0, np.nan], [np.nan, 1.0, 1.0, 20.0, 5.0]]


class Says:
    """An explainer one can follow: each feature adds its value, missing ones nothing, and the base is 100."""

    scale = "score"

    def __init__(self, steps: int = 5) -> None:
        self.steps = steps
        self.asked: list[int] = []

    def attribute(self, rows: FloatMatrix) -> FloatMatrix:
        self.asked.append(len(rows))
        return np.hstack([np.nan_to_num(rows), np.full((len(rows), 1), 100, np.float32)])[:, None, :]

    def __call__(self, _: Task) -> Says:
        return self


def unexplained(_: Task) -> Says:
    raise Unexplainable("it is a riddle")


def serving(
    *explainers: Any, features: tuple[str, ...] = NAMES, sample: float = 0.0, **changes: Any
) -> Serving:
    """Versions 1, 2, …, each with its explainer."""
    raw = PIPELINE.raw() | ({"explain": {"sample": sample}} if sample else {})
    return Serving(
        pipeline=type(PIPELINE).read(raw),
        route=route(**changes),
        models={
            version: Loaded(version=version, features=features, model=Adds(), explaining=each)
            for version, each in enumerate(explainers, 1)
        },
    )


def ask(asked: Serving, body: bytes) -> tuple[oip_pb2.ModelInferResponse, Served]:
    answer, served = infer({"trips": asked}, body, CHANCE)
    return response(answer), served


def refused(asked: Serving, body: bytes) -> Fault:
    with pytest.raises(Fault) as caught:
        infer({"trips": asked}, body, CHANCE)
    return caught.value


def attributions_of(message: oip_pb2.ModelInferResponse) -> NDArray[np.float32]:
    place = [output.name for output in message.outputs].index("attributions")
    tensor = message.outputs[place]
    flat = (
        np.frombuffer(message.raw_output_contents[place], dtype="<f4")
        if message.raw_output_contents
        else np.array(tensor.contents.fp32_contents, dtype=np.float32)
    )
    return flat.reshape(tuple(tensor.shape))


# Parameters


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"string_param": "kiosk"}, "kiosk"),
        ({"bool_param": False}, "false"),
        ({"int64_param": -7}, "-7"),
        ({"uint64_param": 2**64 - 1}, "18446744073709551615"),
        ({"double_param": 0.1}, "0.1"),
        ({}, ""),
    ],
)
@pytest.mark.parametrize("raw", [True, False])
def test_a_clients_own_parameters_are_kept_as_text(given: dict[str, Any], text: str, *, raw: bool) -> None:
    message = oip_pb2.ModelInferRequest.FromString(packed(ROWS[0], raw=raw, parameters={"event_time": 0}))
    message.parameters["screen"].CopyFrom(oip_pb2.InferParameter(**given))
    body = message.SerializeToString(deterministic=True)
    for _ in range(2):  # the second time its form is known
        _, served = ask(serving(Says()), body)
        assert served.asked.parameters == {"screen": text}
        assert served.asked.times == (0,)


@pytest.mark.parametrize(
    ("given", "field", "why"),
    [
        ({"a" * 65: "x"}, "a" * 65, "has a name of 65 characters, expected 1 to 64"),
        ({"": "x"}, "", "has a name of 0 characters"),
        ({"note": "x" * 257}, "note", "parameter 'note' has 257 characters, at most 256 are taken"),
        ({f"p{n:02}": "x" for n in range(33)}, "p32", "parameter 'p32' is one of 33, at most 32 are taken"),
        ({"explain": "maybe"}, "explain", "parameter 'explain' is 'maybe', expected true or false"),
        ({"explain": 1}, "explain", "parameter 'explain' is '1', expected true or false"),
    ],
)
def test_a_parameter_that_is_too_much_is_named(given: dict[str, Any], field: str, why: str) -> None:
    fault = refused(serving(Says()), packed(ROWS[0], parameters=given))
    assert fault.code == "INVALID_ARGUMENT"
    assert fault.violations[0].field == field
    assert why in fault.violations[0].description


def test_as_many_and_as_long_as_are_taken() -> None:
    given = {
        f"{n:0{parameters.LONGEST_NAME}}": "x" * parameters.LONGEST_VALUE for n in range(parameters.MOST)
    }
    _, served = ask(serving(Says()), packed(ROWS[0], parameters=given))
    assert served.asked.parameters == given


# Explanations


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize(
    "asking", [{"parameters": {"explain": "true"}}, {"outputs": ["scores", "attributions"]}]
)
def test_an_answer_says_why(asking: dict[str, Any], *, raw: bool) -> None:
    message, served = ask(serving(Says()), packed(*ROWS, raw=raw, **asking))
    assert scores_of(message) == [[27.5], [102.0], [27.0]]
    found = attributions_of(message)
    assert found.shape == (3, 1, 6)
    assert found[0].tolist() == [[12.5, 2.0, 1.0, 12.0, 0.0, 100.0]]
    assert [output.name for output in message.outputs] == ["scores", "attributions"]
    said = {name: each.string_param for name, each in message.outputs[1].parameters.items()}
    assert said == {"features": ",".join(NAMES), "scale": "score"}
    # The same stands in the log, and the word is not taken for the client's own.
    assert served.attributions == [tuple(line) for line in found.reshape(3, -1).tolist()]
    assert served.asked.parameters == {}


def test_the_outputs_asked_for_stay_those_asked_for() -> None:
    message, _ = ask(serving(Says()), packed(ROWS[0], outputs=["id"], **WHY))
    assert [output.name for output in message.outputs] == ["id", "attributions"]
    message, served = ask(serving(Says()), packed(ROWS[0], parameters={"explain": "false"}))
    assert [output.name for output in message.outputs] == ["scores"]
    assert not served.attributions


def test_each_row_is_explained_by_the_version_that_answered_it() -> None:
    class Twice(Says):
        def attribute(self, rows: FloatMatrix) -> FloatMatrix:
            return 2 * super().attribute(rows)

    asked = serving(Says(), Twice(), canary=2, share=0.5)
    message, served = ask(asked, packed(*ROWS * 10, id="x", **WHY))
    versions = [answer.version for answer in served.scored.answers]
    assert set(versions) == {1, 2}
    assert attributions_of(message)[:, 0, -1].tolist() == [100.0 * version for version in versions]
    assert attributions_of(message)[:, 0, 1].tolist() == [
        version * row[1] for version, row in zip(versions, ROWS * 10, strict=True)
    ]


def test_a_version_of_fewer_features_has_nothing_to_say_of_the_others() -> None:
    asked = serving(Says(), features=("rush", "distance"))
    found = explained(asked, scored(asked, 1), NAMES, np.array(ROWS[:1], dtype=np.float32))
    assert found.values.tolist() == [[[12.5, 0, 1.0, 0, 0, 100]]]
    # And where the rows lack a feature, what its being missing adds is not lost.
    rows = np.array([[12.5]], dtype=np.float32)
    short = explained(asked, scored(asked, 1), ("distance",), rows)
    assert short.values.tolist() == [[[12.5, 100]]]


def scored(asked: Serving, count: int) -> Scored:
    return asked.score([str(row) for row in range(count)], NAMES, np.zeros((count, len(NAMES))))


def test_a_version_that_cannot_be_explained_says_so_and_nothing_is_logged() -> None:
    fault = refused(serving(unexplained), packed(ROWS[0], **WHY))
    assert (fault.code, str(fault)) == (
        "FAILED_PRECONDITION",
        "version 1 cannot be explained: it is a riddle",
    )
    assert ask(serving(unexplained), packed(ROWS[0]))[1].attributions == ()


def test_what_one_call_may_cost_is_bounded() -> None:
    says = Says(steps=explaining.MOST_STEPS // 2)
    body = packed(*ROWS[:2], **WHY)
    assert attributions_of(ask(serving(says), body)[0]).shape == (2, 1, 6)
    fault = refused(serving(says), packed(*ROWS, **WHY))
    assert fault.code == "INVALID_ARGUMENT"
    assert str(fault) == "parameter 'explain': 3 rows, at most 2 of version 1 at once"
    assert says.asked == [2]


# Explained in the log without anybody asking


def test_the_share_that_is_explained_hangs_on_the_ids_alone() -> None:
    asked = serving(Says(), sample=0.3)
    ids = [f"trip-{number}" for number in range(400)]
    matrix = np.random.default_rng(1).normal(size=(400, len(NAMES))).astype(np.float32)
    together = sampled(asked, asked.score(ids, NAMES, matrix), ids, NAMES, matrix)
    alone = [
        sampled(asked, asked.score([id_], NAMES, row[None]), [id_], NAMES, row[None])[0]
        for id_, row in zip(ids, matrix, strict=True)
    ]
    assert together == alone
    assert 80 < sum(map(bool, together)) < 160
    for row, line in zip(matrix, together, strict=True):
        assert not line or line == (*row.tolist(), 100.0)
    none = serving(Says())
    assert not any(sampled(none, none.score(ids, NAMES, matrix), ids, NAMES, matrix))


def test_what_cannot_be_explained_or_was_not_answered_is_logged_without() -> None:
    ids, matrix = ["a", "b"], np.array(ROWS[:2], dtype=np.float32)
    riddle = serving(unexplained, sample=1.0)
    assert sampled(riddle, riddle.score(ids, NAMES, matrix), ids, NAMES, matrix) == [(), ()]
    says = Says()
    broken = serving(says, sample=1.0)
    failed = Scored(answers=scored(broken, 2).answers, scores={}, failed={1: "no luck"})
    assert sampled(broken, failed, ids, NAMES, matrix) == [(), ()]
    assert not says.asked


def test_the_stream_explains_its_share_too() -> None:
    chance = np.random.default_rng(2)
    rows = chance.integers(0, 3, size=(300, len(NAMES))).astype(np.float64)
    labels = (rows[:, 0] + rows[:, 1] > chance.normal(2, 1, 300)).astype(np.float64)
    made = fit("hist_gradient_boosting", "binary", rows, labels, categories=[0] * 5, outputs=1, seed=0)
    artifact = export(made)
    score = Model.load(artifact, digest=digest_of(artifact)).run(np.ones((1, 5), dtype=np.float32))[0, 0]
    world = World(explain={"sample": 0.5})
    world.model(1, float(score), artifact=artifact)
    world.route(champion=1)
    ids = [f"trip-{number}" for number in range(40)]
    world.rows(*ids, values=[2.0, 1.0, 0.0, 1.0, np.nan])
    run(world.replica())
    found = world.predictions()
    assert len(found) == 40
    told = [each for each in found if each.attributions]
    assert {each.id for each in told} == {id_ for id_ in ids if world.pipeline.explain.takes(id_)}
    assert 5 < len(told) < 35
    for each in told:
        assert len(each.attributions) == len(NAMES) + 1
        odds = 1 / each.scores[0].values[0] - 1
        np.testing.assert_allclose(sum(each.attributions), -np.log(odds), atol=1e-4)


class Logged:
    def __init__(self) -> None:
        self.served: list[Served] = []

    def __call__(self, served: Served, headers: Any) -> None:
        assert headers == ()
        self.served.append(served)


def test_answers_are_explained_behind_their_callers_back() -> None:
    async def story() -> list[Served]:
        logged = Logged()
        sampling = Sampling(logged)
        _, explained_already = ask(serving(Says(), sample=1.0), packed(ROWS[0], **WHY))
        _, plain = ask(serving(Says()), packed(ROWS[0]))
        held, go = Held(), threading.Event()
        held.go = go
        _, chosen = ask(serving(held, sample=1.0), packed(*ROWS))
        for served in (chosen, plain, explained_already):
            sampling(served, ())
        assert logged.served == [plain, explained_already], "these need not wait for the other"
        go.set()
        await sampling.close()
        return logged.served

    *_, last = asyncio.run(story())
    assert [len(line) for line in last.attributions] == [6, 6, 6]


class Held(Says):
    """An explainer that waits to be let go."""

    go = threading.Event()

    def attribute(self, rows: FloatMatrix) -> FloatMatrix:
        assert self.go.wait(30)
        return super().attribute(rows)


class Breaks(Says):
    def attribute(self, rows: FloatMatrix) -> FloatMatrix:
        raise RuntimeError(f"no luck with {len(rows)} rows")


def test_an_answer_is_logged_whatever_becomes_of_its_explanation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.inference.sampling.MOST_WAITING", 4)

    async def story() -> list[Served]:
        logged = Logged()
        sampling = Sampling(logged)
        held = Held()
        held.go = threading.Event()
        for asked in (serving(Breaks(), sample=1.0), serving(held, sample=1.0), serving(held, sample=1.0)):
            sampling(ask(asked, packed(*ROWS[:2]))[1], ())
        assert len(logged.served) == 1, "two of three wait; there was no room for the last"
        held.go.set()
        await sampling.close()
        return logged.served

    found = asyncio.run(story())
    assert sorted(len(each.attributions) for each in found) == [0, 0, 2]


def test_the_record_of_an_explained_answer_reads_back() -> None:
    record = Prediction(
        id="a", origin="GRPC", time=0, epoch=1, version=1, role=None, scores=(), error=None, cleared=(),  # type: ignore[arg-type]  # text is its value
        parameters=MappingProxyType({"screen": "kiosk"}), attributions=(0.5, -0.25),
    )  # fmt: skip
    world = World()
    rows = world.codec.rows(Prediction, "trips", PIPELINE.features_digest, NAMES)
    [payload] = rows.encode([record], np.zeros((1, len(NAMES))))
    found = rows.head(payload)
    assert (found.parameters, found.attributions) == ({"screen": "kiosk"}, (0.5, -0.25))


def test_a_loaded_version_explains_from_its_artifact() -> None:
    explainer = Explaining(constant(len(NAMES), [0.25]))("binary")
    assert explainer.attribute(np.zeros((1, 5), dtype=np.float32))[0, 0, -1] == pytest.approx(np.log(1 / 3))
