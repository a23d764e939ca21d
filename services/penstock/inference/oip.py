"""ModelInfer as a function of bytes: what the wire says, whatever transport brought it.

A request names the pipeline as its model. Its rows come as `penstock.inference.coding` says. What an answer
is joined to its label by is the row's **id**: the request's `id` where there is one row; that and its
place, ``id/0``, ``id/1``, …, where there are more; or one id a row in a BYTES tensor ``id``. A request
without one gets an id made up, and finds it in the response. The event time is the parameter
``event_time``, ISO-8601 or milliseconds; a tensor of that name gives one a row; without either it is now.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from penstock.contracts import oip_pb2
from penstock.inference import coding, parameters
from penstock.inference.domain import STARTING, Answer, Directory, FloatMatrix, Scored, Serving, Waiting
from penstock.inference.explaining import explained
from penstock.inference.faults import Fault, Violation, wrong
from penstock.inference.forms import NOTHING, Forms, Known
from penstock.inference.tensors import raw_bytes, read_inputs
from penstock.kernel.errors import Invalid
from penstock.kernel.mistakes import nearest, show
from penstock.kernel.times import event_time_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from penstock.inference.explaining import Explanation


LONGEST_ID: Final = 256
ATTRIBUTIONS: Final = "attributions"
OUTPUTS: Final = ("scores", "model_version", "role", "id", ATTRIBUTIONS)
"""What a request may ask for; without asking it gets the scores."""
_SINGLE: Final = np.dtype("<f4")
_USUAL: Final = ((), OUTPUTS[:1])
PIN: Final = "penstock-version"
"""Metadata of a call that pins a version as the request's own field does, where a client cannot set that."""


_FORMS: Final = Forms()
"""Only bytes and what they say: it is the same for every directory."""


class Chance(NamedTuple):
    """What a call may not know by itself: the time now, in milliseconds since 1970, and an id nobody has."""

    now: int
    new_id: Callable[[], str]


class Asked(NamedTuple):
    """A request that has been read."""

    serving: Serving
    id: str
    ids: tuple[str, ...]
    times: tuple[int, ...]
    vectors: coding.Coded
    pin: int | None
    outputs: tuple[str, ...]
    raw: bool
    parameters: Mapping[str, str] = NOTHING
    """What the client passed beside its tensors, as text."""
    explain: bool = False


class Served(NamedTuple):
    """A request and what every version said of its rows: what is logged."""

    asked: Asked
    scored: Scored
    attributions: Sequence[tuple[float, ...]] = ()
    """Of each row, where the rows were explained."""


def find(directory: Directory, name: str) -> Serving:
    """The pipeline of that name, if it can be asked.

    Raises:
        Fault: NOT_FOUND, or UNAVAILABLE with the reason.
    """
    match directory.get(name):
        case Serving() as serving:
            return serving
        case Waiting(reason=reason):
            raise Fault("UNAVAILABLE", f"pipeline {name!r} cannot answer yet: {reason}")
    if directory is STARTING:
        raise Fault("UNAVAILABLE", "this server has just started, and still reads which pipelines there are")
    meant = nearest(name, directory)
    hint = (
        f" (did you mean {meant!r}?)" if meant else f": there is {', '.join(sorted(directory)) or 'none yet'}"
    )
    raise Fault("NOT_FOUND", f"no pipeline {show(name)}{hint}")


def find_version(serving: Serving, version: str) -> int | None:
    """The version a client pins; None where the route decides.

    Raises:
        Fault: NOT_FOUND where it is not loaded.
    """
    if not version:
        return None
    loaded = {str(number): number for number in sorted(serving.models)}
    if version in loaded:
        return loaded[version]
    here = ", ".join(loaded)
    raise Fault(
        "NOT_FOUND", f"pipeline {serving.pipeline.name!r} has no version {show(version)} here, only {here}"
    )


def agreed(field: str, pin: str) -> str:
    """The version that both the request's field and the call's metadata ask for; either may say nothing.

    Raises:
        Fault: INVALID_ARGUMENT where the metadata is no version, or they differ.
    """
    if not pin:
        return field
    if not (pin.isascii() and pin.isdecimal()):
        why = f"metadata {PIN!r} is {show(pin)}, expected the number of a version"
    elif field not in ("", pin):
        why = f"metadata {PIN!r} is {show(pin)}, model_version is {show(field)}: one of them is enough"
    else:
        return pin
    raise Fault("INVALID_ARGUMENT", violations=[Violation(PIN, why)])


def infer(
    directory: Directory, request: bytes, chance: Chance, pin: str = ""
) -> tuple[bytes | Fault, Served]:
    """Answer one ModelInferRequest.

    Args:
        directory: what can be asked.
        request: as it came.
        chance: what is different with every call.
        pin: the version that the call's metadata names; empty where it names none.

    Returns:
        the bytes of the response, or the fault where the answering version could not score; and what is to be
        logged either way.

    Raises:
        Fault: nothing was scored, and nothing is to be logged.
    """
    return answer(read(directory, request, chance, pin))


def answer(asked: Asked) -> tuple[bytes | Fault, Served]:
    """Let all versions score the rows, one after the other, and finish with what they say; as `infer`."""
    serving = asked.serving
    return finish(asked, serving.score(asked.ids, serving.layout.names, asked.vectors.matrix, pin=asked.pin))


def finish(asked: Asked, scored: Scored) -> tuple[bytes | Fault, Served]:
    """The answer out of what was said of the rows; of those who answer none may be missing; as `infer`."""
    served, why = Served(asked=asked, scored=scored), None
    if asked.explain:
        why = explained(asked.serving, scored, asked.serving.layout.names, asked.vectors.matrix)
        lines = why.values.reshape(len(asked.ids), -1).tolist()
        served = served._replace(attributions=[tuple(line) for line in lines])
    try:
        return respond(asked, scored, why), served
    except Fault as fault:
        return fault, served


def read(directory: Directory, request: bytes, chance: Chance, pin: str = "") -> Asked:
    """What a ModelInferRequest asks; raises `Fault` where that cannot be told or had."""
    known = _FORMS.recognised(request)
    asked = None if known is None else _read_known(directory, known, chance, pin)
    return asked or _read(directory, request, chance, pin)


def _read_known(directory: Directory, known: Known, chance: Chance, pin: str) -> Asked | None:
    """A request of a known form; None where this pipeline has another use for its tensor."""
    form, id_, values = known
    serving = find(directory, form.name)
    layout = serving.layout
    rows, width = form.shape
    if width != layout.packed:
        return None
    version = find_version(serving, agreed(form.version, pin))
    id_ = id_ or chance.new_id()
    time = chance.now if form.time is None else form.time
    return Asked(
        serving=serving,
        id=id_,
        ids=(id_,) if rows == 1 else tuple([f"{id_}/{row}" for row in range(rows)]),
        times=(time,) * rows,
        vectors=coding.coded(layout.features, layout.bounds, values),
        pin=version,
        outputs=form.outputs,
        raw=True,
        parameters=form.parameters,
    )


def _read(directory: Directory, request: bytes, chance: Chance, pin: str) -> Asked:
    message = oip_pb2.ModelInferRequest()
    try:
        message.ParseFromString(request)
    except DecodeError as error:
        raise Fault("INVALID_ARGUMENT", "the message is not a ModelInferRequest") from error
    serving = find(directory, message.model_name)
    version = find_version(serving, agreed(message.model_version, pin))
    outputs = tuple(output.name for output in message.outputs)
    if unknown := [name for name in outputs if name not in OUTPUTS]:
        text = f"output {unknown[0]!r} is not one of {', '.join(OUTPUTS)}"
        raise Fault("INVALID_ARGUMENT", text, violations=[Violation(unknown[0], text)])
    explain = parameters.explains(message) or ATTRIBUTIONS in outputs
    if explain and outputs and ATTRIBUTIONS not in outputs:
        outputs = (*outputs, ATTRIBUTIONS)
    tensors = read_inputs(message)
    rows = coding.row_count(tensors)
    times = _times(message, tensors, rows, serving, chance.now)
    id_, ids = _ids(message.id, coding.special(serving.layout, coding.IDS, tensors), rows, chance)
    asked = Asked(
        serving=serving,
        id=id_,
        ids=ids,
        times=times,
        vectors=coding.code(serving.layout, tensors, times),
        pin=version,
        outputs=outputs,
        raw=bool(message.raw_input_contents),
        parameters=parameters.passed(message),
        explain=explain,
    )
    if explain:  # dear in any case, and so no usual one
        return asked
    time = times[0] if coding.TIMES in message.parameters else None
    _FORMS.learn(request, message, outputs=outputs, time=time, parameters=asked.parameters)
    return asked


def _ids(
    given: str, tensor: NDArray[np.object_] | None, rows: int, chance: Chance
) -> tuple[str, tuple[str, ...]]:
    """The id to echo, and one for each row."""
    if len(given) > LONGEST_ID:
        raise wrong("id", f"has {len(given)} characters, at most {LONGEST_ID} are taken")
    if tensor is not None:
        if tensor.dtype.kind != "O" or tensor.size != rows:
            raise wrong("id", f"has shape {list(tensor.shape)}, expected BYTES [{rows}]")
        ids = tuple(coding.text("id", tensor.reshape(-1)))
        if not all(0 < len(id_) <= LONGEST_ID for id_ in ids):
            raise wrong("id", f"has a value that is empty or longer than {LONGEST_ID} characters")
        return given or (ids[0] if rows == 1 else ""), ids
    given = given or chance.new_id()
    return given, (given,) if rows == 1 else tuple(f"{given}/{row}" for row in range(rows))


def _times(
    message: oip_pb2.ModelInferRequest, tensors: coding.Tensors, rows: int, serving: Serving, now: int
) -> tuple[int, ...]:
    tensor = coding.special(serving.layout, coding.TIMES, tensors)
    values: Sequence[object]
    if tensor is not None:
        values = coding.timestamps(coding.TIMES, tensor.reshape(-1))
        if len(values) != rows:
            raise wrong(coding.TIMES, f"has {len(values)} values for {rows} rows")
    elif coding.TIMES in message.parameters:
        parameter = message.parameters[coding.TIMES]
        choice = parameter.WhichOneof("parameter_choice")
        values = [getattr(parameter, choice) if choice else None]
    else:
        return (now,) * rows
    try:
        found = tuple(event_time_ms(value, field=coding.TIMES) for value in values)
    except Invalid as why:
        raise Fault("INVALID_ARGUMENT", violations=[Violation(coding.TIMES, str(why))]) from why
    return found if len(found) == rows else found * rows


def respond(asked: Asked, scored: Scored, why: Explanation | None = None) -> bytes:
    """The ModelInferResponse; raises `Fault` INTERNAL where a row's answering version could not score it."""
    alone = scored.answer
    for version in {answer.version for answer in scored.answers} if alone is None else (alone.version,):
        if not scored.complete(version):
            said = scored.said(version)
            if not all(said[row] for row, answer in enumerate(scored.answers) if answer.version == version):
                raise Fault("INTERNAL", scored.why_not(version))
    if alone is not None and why is None and asked.raw and asked.outputs in _USUAL:
        return _usual(asked, scored, alone)
    response = oip_pb2.ModelInferResponse(model_name=asked.serving.pipeline.name, id=asked.id)
    outputs = asked.outputs or OUTPUTS[:1]
    _attribute(response, asked.serving.route.epoch, alone)
    if alone is None:
        # Some rows went to the canary: one word would be wrong for some of them, so each row gets its own.
        outputs = asked.outputs or OUTPUTS[:3]
    for name in outputs:
        if name != ATTRIBUTIONS:
            _add(response, name, asked, scored)
    if why is not None:
        _add_attributions(response, why, asked)
    return response.SerializeToString()


def _usual(asked: Asked, scored: Scored, answer: Answer) -> bytes:
    """The scores of one version in raw form. The fields of a message may come in any order, so what varies is
    appended to what does not.
    """
    scores = scored.scores[answer.version]
    id_ = asked.id.encode()
    raw = (scores if scores.dtype == _SINGLE else scores.astype(_SINGLE)).tobytes()
    head = _head(asked.serving.pipeline.name, asked.serving.route.epoch, answer, *scores.shape)
    return b"".join((head, b"\x1a", varint(len(id_)), id_, b"\x32", varint(len(raw)), raw))


@lru_cache(maxsize=4096)  # .4 µs instead of 6
def _head(name: str, epoch: int, answer: Answer, rows: int, width: int) -> bytes:
    response = oip_pb2.ModelInferResponse(model_name=name)
    _attribute(response, epoch, answer)
    response.outputs.add(name="scores", datatype="FP32", shape=[rows, width])
    return response.SerializeToString()


def _attribute(response: oip_pb2.ModelInferResponse, epoch: int, answer: Answer | None) -> None:
    """Say who answered, where that was one."""
    response.parameters["route_epoch"].int64_param = epoch
    if answer is not None:
        response.model_version = str(answer.version)
        response.parameters["model_version"].int64_param = answer.version
        response.parameters["role"].string_param = _role(answer)


@lru_cache(maxsize=4096)
def varint(number: int) -> bytes:
    r"""A number as protobuf writes it: seven bits a byte, the eighth says that more follow.

    >>> varint(300)
    b'\xac\x02'
    """
    written = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - the seven bits
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def _role(answer: Answer) -> str:
    return answer.role.lower() if answer.role else "shadow"


def _add(response: oip_pb2.ModelInferResponse, name: str, asked: Asked, scored: Scored) -> None:
    match name:
        case "scores":
            _add_scores(response, _answered(scored), raw=asked.raw)
        case "model_version":
            versions = [answer.version for answer in scored.answers]
            tensor = response.outputs.add(name=name, datatype="INT64", shape=[len(versions)])
            if asked.raw:
                response.raw_output_contents.append(np.array(versions, dtype="<i8").tobytes())
            else:
                tensor.contents.int64_contents.extend(versions)
        case _:
            words = asked.ids if name == "id" else [_role(answer) for answer in scored.answers]
            tensor = response.outputs.add(name=name, datatype="BYTES", shape=[len(words)])
            if asked.raw:
                response.raw_output_contents.append(raw_bytes(words))
            else:
                tensor.contents.bytes_contents.extend(word.encode() for word in words)


def _add_attributions(response: oip_pb2.ModelInferResponse, why: Explanation, asked: Asked) -> None:
    """The last of the outputs: FP32 ``[n, K, F + 1]``, and what its columns are."""
    tensor = response.outputs.add(name=ATTRIBUTIONS, datatype="FP32", shape=why.values.shape)
    tensor.parameters["features"].string_param = ",".join(asked.serving.layout.names)
    tensor.parameters["scale"].string_param = why.scale
    if asked.raw:
        response.raw_output_contents.append(why.values.astype("<f4").tobytes())
    else:
        tensor.contents.fp32_contents.extend(why.values.ravel().tolist())


def _answered(scored: Scored) -> FloatMatrix:
    """The scores that are returned, float32 ``[n, K]``."""
    first = scored.answers[0].version
    if all(answer.version == first for answer in scored.answers):
        return scored.scores[first]
    return np.stack([scored.scores[answer.version][row] for row, answer in enumerate(scored.answers)])


def _add_scores(response: oip_pb2.ModelInferResponse, scores: FloatMatrix, *, raw: bool) -> None:
    tensor = response.outputs.add(name="scores", datatype="FP32", shape=scores.shape)
    if raw:
        response.raw_output_contents.append(scores.astype("<f4").tobytes())
    else:
        tensor.contents.fp32_contents.extend(scores.ravel().tolist())
