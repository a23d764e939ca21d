"""The pipeline: what a user wants kept right, as one frozen value.

`Pipeline.read` takes the plain mapping of a pipeline file, or of an applied spec, and gives the value or
every mistake in it. `canonical` is the way back: one text however the file was written, so its digest is
the pipeline's.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, ConfigDict

from penstock.kernel.canonical import canonical_json
from penstock.kernel.explain import Explain
from penstock.kernel.kinds import Category, Feature, learned
from penstock.kernel.mistakes import Mistake, Mistakes, Wrong, adapter, in_order, peek, read, show
from penstock.kernel.names import Name, feature_name
from penstock.kernel.names import name as lane_name
from penstock.kernel.pii import Pii, read_pii, refused_marks, treatment_of
from penstock.kernel.policy import OBJECTIVES, Lane, Policy, Task, default_lanes
from penstock.kernel.readkind import read_kind
from penstock.kernel.rules import entries, rules
from penstock.kernel.sources import Events, Labels
from penstock.kernel.units import Text
from penstock.kernel.validity import meaning

_STRICT: Final = ConfigDict(extra="forbid")


def _classes(raw: tuple[str, ...]) -> tuple[str, ...]:
    for index, label in enumerate(raw):
        if label in raw[:index]:
            raise Wrong(f"class {label!r} stands here twice", within=(index,))
    if len(raw) == 1:
        raise Wrong("expected at least two classes")
    return raw


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """The top level of a pipeline file; features and lanes are read one by one."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    pipeline: Name
    task: Task
    events: Events
    labels: Labels
    features: object
    lanes: object = None
    owner: Text = ""
    classes: Annotated[tuple[Text, ...], AfterValidator(_classes)] = ()
    pii: object = None
    explain: Explain = field(default_factory=Explain)
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """What a user wants kept right.

    >>> churn = Pipeline.read({
    ...     "pipeline": "churn",
    ...     "task": "binary",
    ...     "events": {"topic": "crm.events", "id": "id", "time": "at"},
    ...     "labels": {"topic": "crm.ends", "id": "id", "time": "at", "value": "churned", "horizon": "30d"},
    ...     "features": {"age": "number", "plan": {"category": ["free", "plus", "pro"]}},
    ... })
    >>> churn.labels.horizon, churn.feature_names, churn.policy.objective
    (2592000000, ('age', 'plan'), 'log_loss')
    >>> Pipeline.read(churn.raw()) == churn
    True
    """

    name: str
    task: Task
    events: Events
    labels: Labels
    features: tuple[Feature, ...]
    lanes: tuple[Lane, ...]
    policy: Policy
    owner: str = ""
    classes: tuple[str, ...] = ()
    pii: Pii = ()
    explain: Explain = field(default_factory=Explain)

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> "Pipeline":
        """Read a pipeline file's mapping, or an applied spec's.

        Raises:
            Mistakes: all of them, in the order of the file.
        """
        mistakes: list[Mistake] = []
        document = read(_Document, _with_defaults(raw), (), mistakes)
        features = _read_features(raw, mistakes)
        lanes = _read_lanes(raw, mistakes)
        pii = read_pii(raw.get("pii"), mistakes)
        mistakes += [*rules(raw), *refused_marks(raw, pii, features)]
        if mistakes or document is None:
            raise Mistakes(in_order(mistakes, raw))
        return cls(
            name=document.pipeline,
            owner=document.owner,
            task=document.task,
            events=document.events,
            labels=document.labels,
            classes=document.classes,
            features=features,
            lanes=lanes,
            policy=document.policy,
            pii=pii,
            explain=document.explain,
        )

    @property
    def hashes_ids(self) -> bool:
        """Whether ids are written as hashes: those of events and labels alike, or they would never meet."""
        return "hash" in {treatment_of(self.pii, source.id) for source in (self.events, self.labels)}

    @property
    def hashes(self) -> bool:
        """Whether anything that is written is hashed, for which it takes the key."""
        fields = [feature.field for feature in self.features]
        return self.hashes_ids or any(treatment_of(self.pii, field) == "hash" for field in fields)

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @property
    def outputs(self) -> int:
        """How many scores a model gives a row: one, or one per class."""
        return len(self.classes) or 1

    def raw(self) -> dict[str, object]:
        """The whole pipeline, every default spelled out, as `read` takes it.

        Features and lanes are lists here: their order means something, and JSON objects have none.
        """
        head: dict[str, Any] = {
            "pipeline": self.name,
            "owner": self.owner,
            "task": self.task,
            "events": adapter(Events).dump_python(self.events, mode="json", exclude_none=True),
            "labels": adapter(Labels).dump_python(self.labels, mode="json", exclude_none=True),
            "features": [{feature.name: feature.raw()} for feature in self.features],
            "lanes": [lane.raw() for lane in self.lanes],
            "policy": self.policy.raw(),
        }
        if self.classes:
            head["classes"] = list(self.classes)
        if self.pii:
            head["pii"] = dict(self.pii)
        if self.explain != Explain():
            head["explain"] = adapter(Explain).dump_python(self.explain, mode="json")
        return head

    def canonical(self) -> bytes:
        """The applied form: one JSON text per pipeline, however its file was written."""
        return canonical_json(self.raw())

    @property
    def digest(self) -> str:
        """Sha256 of the applied form, in hex."""
        return hashlib.sha256(self.canonical()).hexdigest()

    @property
    def policy_digest(self) -> str:
        """Sha256, in hex, of what decisions follow: policy and lanes."""
        return hashlib.sha256(
            canonical_json([self.policy.raw(), [lane.raw() for lane in self.lanes]])
        ).hexdigest()

    @property
    def features_digest(self) -> str:
        """16 hex digits naming what the feature vector means: names, kinds, ranges, categories, all in order.

        `required`, and rules that refuse or flag, are not in it: they say which rows there are and what is
        told of them, not what stands in them.
        """
        meanings = [
            [feature.name, replace(feature, kind=meaning(feature.kind)).raw()] for feature in self.features
        ]
        return hashlib.sha256(canonical_json(meanings)).hexdigest()[:16]

    @property
    def unlearned(self) -> tuple[str, ...]:
        """The features whose categories are still to be learned from the first rows."""
        return tuple(
            feature.name
            for feature in self.features
            if isinstance(feature.kind, Category) and feature.kind.values is None
        )

    def frozen(self, dictionaries: Mapping[str, Sequence[str]]) -> "Pipeline":
        """With learned categories filled in, in the order given; those in the file stay."""
        waiting = set(self.unlearned)
        return replace(
            self,
            features=tuple(
                replace(feature, kind=replace(feature.kind, values=learned(dictionaries[feature.name])))
                if feature.name in waiting
                and feature.name in dictionaries
                and isinstance(feature.kind, Category)
                else feature
                for feature in self.features
            ),
        )


def _with_defaults(raw: Mapping[str, object]) -> Mapping[str, object]:
    """The defaults that hang on the task."""
    policy = raw.get("policy", {})
    objectives = OBJECTIVES.get(str(raw.get("task")))
    if objectives and isinstance(policy, Mapping):
        policy = {"objective": objectives[0], **policy}
    return {**raw, "policy": policy}


def _read_features(raw: Mapping[str, object], mistakes: list[Mistake]) -> tuple[Feature, ...]:
    if "features" not in raw:
        return ()
    features = []
    for key, value, path in entries(raw["features"], ("features",), mistakes):
        try:
            name = feature_name(key)
        except Wrong as wrong:
            mistakes.append(Mistake(path, str(wrong), at_key=True))
            continue
        if kind := read_kind(value, path, peek(raw, "events", "time"), mistakes):
            features.append(Feature(name=name, kind=kind))
    return tuple(features)


def _read_lanes(raw: Mapping[str, object], mistakes: list[Mistake]) -> tuple[Lane, ...]:
    if "lanes" not in raw:
        return default_lanes(raw.get("task"))
    lanes = []
    for key, value, path in entries(raw["lanes"], ("lanes",), mistakes):
        if not isinstance(value, Mapping):
            mistakes.append(Mistake(path, f"expected keys and values, got {show(value)}"))
            continue
        try:
            lane_name(key)
        except Wrong as wrong:
            mistakes.append(Mistake(path, str(wrong), at_key=True))
            continue
        if "name" in value:
            mistakes.append(
                Mistake((*path, "name"), "unknown key 'name': a lane's name is its key", at_key=True)
            )
        elif lane := read(Lane, {"name": key, **value}, path, mistakes):
            lanes.append(lane)
        if peek(value, "algorithm") == "logistic_regression" and raw.get("task") == "regression":
            mistakes.append(
                Mistake((*path, "algorithm"), "logistic_regression needs classes, not a regression")
            )
    return tuple(lanes)
