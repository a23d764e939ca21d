"""What a client passes beside its tensors: words of our own, and anything else, which goes into the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock.inference.faults import Fault, Violation
from penstock.inference.forms import NOTHING
from penstock.kernel.mistakes import show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock.contracts.oip_pb2 import InferParameter, ModelInferRequest

EXPLAIN: Final = "explain"
OURS: Final = frozenset({"event_time", EXPLAIN})
"""Parameters that mean something here; they are not logged as the client's own."""
MOST: Final = 32
LONGEST_NAME: Final = 64
LONGEST_VALUE: Final = 256


def passed(message: ModelInferRequest) -> Mapping[str, str]:
    """The client's own parameters, as text: true and false, numbers in decimal, text as it is.

    Raises:
        Fault: INVALID_ARGUMENT, naming the parameter that is too long, or the first beyond the number taken.
    """
    if not message.parameters:
        return NOTHING
    own = {name: text(value) for name, value in sorted(message.parameters.items()) if name not in OURS}
    wrong = []
    for name, value in own.items():
        if not 0 < len(name) <= LONGEST_NAME:
            wrong.append(_wrong(name, f"has a name of {len(name)} characters, expected 1 to {LONGEST_NAME}"))
        if len(value) > LONGEST_VALUE:
            wrong.append(_wrong(name, f"has {len(value)} characters, at most {LONGEST_VALUE} are taken"))
    if len(own) > MOST:
        wrong.append(_wrong(list(own)[MOST], f"is one of {len(own)}, at most {MOST} are taken"))
    if wrong:
        raise Fault("INVALID_ARGUMENT", violations=wrong)
    return own or NOTHING


def text(parameter: InferParameter) -> str:
    """A parameter as text; empty where it has no value.

    >>> from penstock.contracts.oip_pb2 import InferParameter
    >>> [text(InferParameter(**value)) for value in ({"bool_param": True}, {"double_param": .5}, {})]
    ['true', '0.5', '']
    """
    choice = parameter.WhichOneof("parameter_choice")
    if choice is None:
        return ""
    value = getattr(parameter, choice)
    return str(value).lower() if choice == "bool_param" else str(value)


def explains(message: ModelInferRequest) -> bool:
    """Whether the client asks why, by the parameter `explain`: true or false, as such or as text.

    Raises:
        Fault: INVALID_ARGUMENT where it is something else.
    """
    if EXPLAIN not in message.parameters:
        return False
    word = text(message.parameters[EXPLAIN]).lower()
    if word not in {"true", "false"}:
        raise Fault(
            "INVALID_ARGUMENT", violations=[_wrong(EXPLAIN, f"is {show(word)}, expected true or false")]
        )
    return word == "true"


def _wrong(name: str, description: str) -> Violation:
    return Violation(name, f"parameter {show(name)} {description}")
