"""What things in a pipeline file may be called, and why."""

import re
from typing import Annotated, Final

from pydantic import BeforeValidator

from penstock.kernel.mistakes import Wrong, show

# A pipeline's name is one segment of topic names, so it has no dots.
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
# A feature's name is a field's name in an Avro record.
_FEATURE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
# Kafka's own rule.
_TOPIC: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")


def name(raw: object) -> str:
    """The name of a pipeline or a lane.

    >>> name("flights")
    'flights'
    """
    if isinstance(raw, str) and _NAME.fullmatch(raw):
        return raw
    raise Wrong(f"expected a name of lower case letters, digits, - and _, got {show(raw)}")


def is_feature_name(raw: str) -> bool:
    return bool(_FEATURE.fullmatch(raw))


def feature_name(raw: object) -> str:
    """The name of a feature.

    >>> feature_name("wind_speed")
    'wind_speed'
    """
    if isinstance(raw, str) and is_feature_name(raw):
        return raw
    raise Wrong(
        f"expected a feature's name of letters, digits and _, not beginning with a digit, got {show(raw)}"
    )


def topic(raw: object) -> str:
    """The name of a Kafka topic.

    >>> topic("crm.events")
    'crm.events'
    """
    if isinstance(raw, str) and _TOPIC.fullmatch(raw):
        return raw
    raise Wrong(f"expected a topic's name of letters, digits, '.', - and _, got {show(raw)}")


def field_name(raw: object) -> str:
    """The name of a field of an event; dots lead into nested ones.

    >>> field_name("arr_delay"), field_name("payload.order.id")
    ('arr_delay', 'payload.order.id')
    """
    if not isinstance(raw, str) or not raw:
        raise Wrong(f"expected a field's name, got {show(raw)}")
    if not all(raw.split(".")):
        raise Wrong(f"{show(raw)} has a dot with no name beside it: expected a.b to lead to field b within a")
    return raw


Name = Annotated[str, BeforeValidator(name)]
TopicName = Annotated[str, BeforeValidator(topic)]
FieldName = Annotated[str, BeforeValidator(field_name)]
