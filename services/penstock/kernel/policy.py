"""Lanes, the ways of making versions, and the policy that rules them. Times are milliseconds.

The defaults are those the example was measured with; a pipeline's applied form spells them out, so that a
later change of a default changes no pipeline that runs.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PlainSerializer

from penstock.kernel.mistakes import Wrong, adapter, nearest, show
from penstock.kernel.names import Name
from penstock.kernel.units import (
    ARate,
    AUnit,
    Duration,
    DurationOrNone,
    EvidenceUnit,
    Rate,
    Real,
    duration,
    show_duration,
)

_STRICT: Final = ConfigDict(extra="forbid")
_HOUR: Final = 3_600_000
_DAY: Final = 24 * _HOUR

Algorithm = Literal["hist_gradient_boosting", "logistic_regression"]
Objective = Literal["log_loss", "brier", "squared_error"]
Task = Literal["binary", "multiclass", "regression"]
# What a task's scores can be judged by; the first is the default.
OBJECTIVES: Final[dict[str, tuple[Objective, ...]]] = {
    "binary": ("log_loss", "brier"),
    "multiclass": ("log_loss", "brier"),
    "regression": ("squared_error",),
}
Share = Annotated[Real, Field(gt=0, lt=1)]


def _window(raw: object) -> int | None:
    if raw == "expanding":
        return None
    try:
        return duration(raw)
    except Wrong:
        message = f"expected expanding or a duration such as 56d, got {show(raw)}"
        raise Wrong(message, nearest(raw, ["expanding"])) from None


def _show_window(window: int | None) -> str:
    return "expanding" if window is None else show_duration(window)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A way of making versions, which outlives them.

    Args:
        name: what it is called.
        algorithm: what is fitted.
        window: how much of the past it learns from; None = everything.
        every: how often it is refreshed.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    name: Name
    algorithm: Algorithm = "hist_gradient_boosting"
    window: Annotated[int | None, BeforeValidator(_window), PlainSerializer(_show_window)] = None
    every: Duration = 14 * _DAY

    def raw(self) -> dict[str, object]:
        """The lane as a pipeline file spells it out."""
        options: dict[str, Any] = adapter(Lane).dump_python(self, mode="json")
        return {options.pop("name"): options}


def default_lanes(task: object) -> tuple[Lane, ...]:
    """Two recipes that disagree about the past, and a linear one where there is one for the task."""
    lanes = (Lane(name="everything"), Lane(name="recent", window=56 * _DAY))
    linear = Lane(name="linear", algorithm="logistic_regression", window=56 * _DAY)
    return lanes if task == "regression" else (*lanes, linear)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """When the champion is said to fail.

    Args:
        average_run_length: how many units of evidence pass, on average, between two false alarms.
        block: the unit of evidence.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    average_run_length: Annotated[Real, Field(gt=1)] = 1000.0
    block: AUnit = field(default_factory=EvidenceUnit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """When one lane is said to be better than another.

    Args:
        block: the unit of evidence.
        level: probability, over the pipeline's life, of any false change of lane.
        margin: loss by which a lane must lead to be nominated.
        half_life: of the moving average that nominates, in labels.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    block: AUnit = field(default_factory=EvidenceUnit)
    level: Share = 0.05
    margin: Annotated[Real, Field(ge=0)] = 0.005
    half_life: Annotated[Real, Field(gt=0)] = 4000.0


def _growing(shares: tuple[float, ...]) -> tuple[float, ...]:
    if any(before >= after for before, after in pairwise(shares)):
        raise Wrong("expected shares that grow, such as [0.1, 0.5]")
    return shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """The shares of the traffic that a challenger answers before it answers everything, and how long each."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    shares: Annotated[tuple[Share, ...], AfterValidator(_growing)] = (0.1, 0.5)
    each: Duration = 2 * _DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrain:
    """How often evidence may start a training."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    cool_down: DurationOrNone = 3 * _DAY
    at_most: ARate = field(default_factory=lambda: Rate(count=8, per=28 * _DAY))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the owner wants, in numbers.

    Args:
        objective: the loss that versions are compared by.
        first_training: length of sealed labels before the first training.
        alarm: when the champion is said to fail.
        compare: when a lane is said to be better.
        canary: how a challenger takes over.
        watch: how long after a promotion the former champion can win back.
        retrain: the budget of trainings.
        approval: who must agree to a promotion.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    objective: Objective = "log_loss"
    first_training: Duration = 28 * _DAY
    alarm: Alarm = field(default_factory=Alarm)
    compare: Compare = field(default_factory=Compare)
    canary: Canary = field(default_factory=Canary)
    watch: Duration = 14 * _DAY
    retrain: Retrain = field(default_factory=Retrain)
    approval: Literal["automatic", "manual", "four_eyes"] = "automatic"

    def raw(self) -> dict[str, object]:
        """The policy as a pipeline file spells it out."""
        options: dict[str, object] = adapter(Policy).dump_python(self, mode="json")
        return options
