"""How a service is told what to do: `PENSTOCK_<NAME>` in the environment, or a flag of `penstock run`.

A service's settings are one frozen class, read once, by its composition root:

    @dataclass(frozen=True, slots=True, kw_only=True)
    class IngestSettings(Settings):
        only: Literal["all", "intake", "join", "summarise"] = "all"
        '''Which of the three loops to run here.'''

    settings = IngestSettings.read(os.environ, flags)

The class is the only list: the flags, `--help`, the table in docs/operations.md and the checks are all made
from its fields, types, defaults and the text under each field. A wrong value is one line that names the
variable and what was expected (`WrongSetting`, exit code 3); a misspelt variable gets a hint (`unknown`).

Kafka's security is passed through: `PENSTOCK_KAFKA_SASL_MECHANISM=SCRAM-SHA-512` sets librdkafka's
`sasl.mechanism`, and with `_FILE` at the end the value is read from a file, which is how secrets come:
`PENSTOCK_KAFKA_SASL_PASSWORD_FILE=/run/secrets/kafka`.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, Union

from penstock.kernel.errors import Invalid

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

PREFIX: Final = "PENSTOCK_"
KAFKA: Final = "PENSTOCK_KAFKA_"
# Only what says how to reach and prove oneself to a broker: the rest is what exactly-once rests on.
_PASSED: Final = ("security.", "sasl.", "ssl.", "https.", "socket.", "client.", "broker.address.", "debug")
# What a settings module may have imported for its type checker alone.
_AT_RUN_TIME: Final[dict[str, Any]] = {"Path": Path, "Mapping": Mapping}
_YES_NO: Final = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


class WrongSetting(Invalid):
    """A setting that cannot be used; the message names it and says what was expected."""


@dataclass(frozen=True, slots=True)
class Between:
    """Bounds of a number, both included; for `Annotated`."""

    least: float
    most: float = float("inf")

    def holds(self, value: float) -> bool:
        return self.least <= value <= self.most

    def __str__(self) -> str:
        return f"at least {self.least}" if self.most == float("inf") else f"from {self.least} to {self.most}"


@dataclass(frozen=True, slots=True)
class Filled:
    """Says something; for `Annotated` text."""

    def holds(self, value: str) -> bool:
        return bool(value.strip())

    def __str__(self) -> str:
        return "that is not empty"


Word = Annotated[str, Filled()]
Count = Annotated[int, Between(1)]
Seconds = Annotated[float, Between(0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One field of a settings class, as shown to people."""

    name: str
    variable: str
    flag: str
    expected: str
    default: str
    help: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every service is told; each has a subclass with its own fields."""

    broker: Word = "127.0.0.1:9092"
    """Kafka's bootstrap servers: HOST:PORT, several separated by commas."""

    prefix: str = "penstock."
    """What the names of topics, groups and transactions begin with; one for each tenant."""

    slot: Word = "0"
    """The stable place of this process in its service. Two processes of one service must not share it: the
    newer one fences the older."""

    fuse: Literal["on", "off"] = "on"
    """Whether to end when nearly everything is invalid, before it is all dead letters. Off lets it all go
    there: for an operator who has seen the letters and wants the stream to go on."""

    log: Literal["json", "text"] = "json"
    """Form of the log lines on stderr."""

    kafka: Mapping[str, str] = field(default_factory=dict, repr=False)
    """librdkafka's security properties, from `PENSTOCK_KAFKA_*`; not shown, since it holds secrets."""

    @classmethod
    def read(
        cls,
        environment: Mapping[str, str],
        flags: Mapping[str, Any] | None = None,
        *,
        defaults: Mapping[str, str] | None = None,
    ) -> Self:
        """The settings in force: a flag wins over the environment, that over `defaults`, that over the class.

        Args:
            environment: usually `os.environ`; empty values count as unset.
            flags: `vars(args)` after `add_arguments`; None and keys of others are ignored.
            defaults: what the caller knows better than the class, by field name.

        Raises:
            WrongSetting: naming the first variable or flag that is wrong.

        >>> Settings.read({"PENSTOCK_BROKER": "kafka:9092"}, {"slot": "3"}).slot
        '3'
        >>> Settings.read({"PENSTOCK_LOG": "xml"})
        Traceback (most recent call last):
        ...
        penstock.runtime.settings.WrongSetting: PENSTOCK_LOG is 'xml', expected json or text
        """
        flags, defaults = flags or {}, defaults or {}
        values: dict[str, Any] = {}
        for setting, kind in _fields(cls):
            if flags.get(setting.name) is not None:
                where, text = setting.flag, str(flags[setting.name])
            elif environment.get(setting.variable):
                where, text = setting.variable, environment[setting.variable]
            elif setting.name in defaults:
                where, text = setting.name, defaults[setting.name]
            else:
                continue
            values[setting.name] = _parsed(where, text, kind)
        return cls(**values, kafka=_passed_through(environment))


def describe(settings: type[Settings]) -> list[Setting]:
    """The fields of a settings class, for help texts and the documentation.

    >>> [setting.variable for setting in describe(Settings)]
    ['PENSTOCK_BROKER', 'PENSTOCK_PREFIX', 'PENSTOCK_SLOT', 'PENSTOCK_FUSE', 'PENSTOCK_LOG']
    """
    return [setting for setting, _ in _fields(settings)]


def add_arguments(parser: argparse.ArgumentParser, settings: type[Settings]) -> None:
    """A flag for each field, named after it; an absent one leaves None, so that `read` looks further."""
    for setting in describe(settings):
        default = f"; {setting.default} if unset" if setting.default else ""
        parser.add_argument(
            setting.flag,
            dest=setting.name,
            metavar=setting.name.upper(),
            help=f"{setting.help} [{setting.variable}{default}]".replace("%", "%%"),
        )


def unknown(environment: Mapping[str, str], *known: type[Settings], others: Iterable[str] = ()) -> list[str]:
    """One line for each `PENSTOCK_` variable that none of the classes reads, with what was probably meant.

    Args:
        environment: usually `os.environ`.
        known: the classes whose variables are fine here; those of other services too where they share an
            environment.
        others: variables that are read elsewhere.

    >>> unknown({"PENSTOCK_BROKRE": "kafka:9092"}, Settings)
    ['PENSTOCK_BROKRE is no setting (did you mean PENSTOCK_BROKER?)']
    """
    names = {setting.variable for settings in known for setting in describe(settings)} | set(others)
    lines = []
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable.startswith(KAFKA) or variable in names:
            continue
        # Without the prefix, which all share and which would make everything look alike.
        words = sorted(name.removeprefix(PREFIX) for name in names)
        close = difflib.get_close_matches(variable.removeprefix(PREFIX), words, n=1)
        hint = f" (did you mean {PREFIX}{close[0]}?)" if close else ""
        lines.append(f"{variable} is no setting{hint}")
    return lines


def _fields(settings: type[Settings]) -> list[tuple[Setting, Any]]:
    hints = typing.get_type_hints(settings, localns=_AT_RUN_TIME, include_extras=True)
    texts = _texts(settings)
    found = []
    for each in dataclasses.fields(settings):
        if each.name == "kafka":
            continue
        default = "" if each.default in (None, dataclasses.MISSING) else _shown(each.default)
        setting = Setting(
            name=each.name,
            variable=PREFIX + each.name.upper(),
            flag="--" + each.name.replace("_", "-"),
            expected=_expected(hints[each.name]),
            default=default,
            help=texts.get(each.name, ""),
        )
        found.append((setting, hints[each.name]))
    return found


def _texts(settings: type[Settings]) -> dict[str, str]:
    """The string under each field. Python throws it away, so it is read from the source."""
    texts = {}
    for cls in reversed(settings.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        statements = body.body if isinstance(body, ast.ClassDef) else []
        for above, below in itertools.pairwise(statements):
            match above, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    texts[name] = " ".join(text.split())
    return texts


def _shown(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)


def _bounds(kind: Any) -> tuple[Any, tuple[Between | Filled, ...]]:
    """A field's type without `| None` and `Annotated`, and the bounds these carried."""
    if typing.get_origin(kind) in {types.UnionType, Union}:
        kind = next(each for each in typing.get_args(kind) if each is not type(None))
    if typing.get_origin(kind) is Annotated:
        base, *bounds = typing.get_args(kind)
        return base, tuple(bounds)
    return kind, ()


def _expected(kind: Any) -> str:
    """What a field's type asks for, in words that complete "expected …"."""
    base, bounds = _bounds(kind)
    if typing.get_origin(base) is Literal:
        return " or ".join(map(str, typing.get_args(base)))
    words = {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "yes or no",
        Path: "a path",
        tuple: "words separated by commas",
    }
    return " ".join([words[typing.get_origin(base) or base], *map(str, bounds)])


def _parsed(where: str, text: str, kind: Any) -> Any:
    base, bounds = _bounds(kind)
    try:
        if typing.get_origin(base) is Literal:
            value: Any = {str(each): each for each in typing.get_args(base)}[text]
        elif typing.get_origin(base) is tuple:
            value = tuple(word.strip() for word in text.split(",") if word.strip())
        elif base is bool:
            value = _YES_NO[text.strip().lower()]
        else:
            value = base(text)
    except (ValueError, KeyError):
        value = None
    if value is None or not all(bound.holds(value) for bound in bounds):
        raise WrongSetting(f"{where} is {text!r}, expected {_expected(kind)}", field=where, reason="setting")
    return value


def _passed_through(environment: Mapping[str, str]) -> dict[str, str]:
    properties = {}
    for variable, text in environment.items():
        if not variable.startswith(KAFKA) or not text:
            continue
        from_file = variable.endswith("_FILE")
        name = variable.removeprefix(KAFKA).removesuffix("_FILE").lower().replace("_", ".")
        if not name.startswith(_PASSED):
            known = ", ".join(f"{part.rstrip('.')}" for part in _PASSED)
            raise WrongSetting(
                f"{variable} would set Kafka's {name!r}, expected one about {known}",
                field=variable,
                reason="setting",
            )
        try:
            properties[name] = Path(text).read_text(encoding="utf-8").rstrip("\r\n") if from_file else text
        except OSError as error:
            raise WrongSetting(
                f"{variable} names {text!r}, which cannot be read: {error.strerror}",
                field=variable,
                reason="setting",
            ) from error
    return properties
