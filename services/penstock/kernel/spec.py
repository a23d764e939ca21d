"""The spec in a record of the pipelines topic: whoever wrote it, it is a whole pipeline or it is refused."""

from __future__ import annotations

import orjson

from penstock.kernel.errors import Invalid
from penstock.kernel.kinds import Category
from penstock.kernel.mistakes import Mistakes
from penstock.kernel.pipeline import Pipeline


def read_spec(name: str, spec: str) -> Pipeline:
    """The pipeline that was applied under a name.

    Raises:
        Invalid: it is not one, or `apply` would have filled in what is missing here.

    >>> read_spec("churn", "[]")
    Traceback (most recent call last):
    ...
    penstock.kernel.errors.Invalid: the spec of churn is not valid: expected an object, got a list
    """
    try:
        raw = orjson.loads(spec)
        if not isinstance(raw, dict):
            raise _invalid(name, f"expected an object, got a {type(raw).__name__}")
        pipeline = Pipeline.read(raw)
    except (Mistakes, orjson.JSONDecodeError) as error:
        raise _invalid(name, str(error)) from error
    if pipeline.name != name:
        raise _invalid(name, f"it is that of {pipeline.name!r}")
    for feature in pipeline.features:
        if isinstance(feature.kind, Category) and feature.kind.values is None:
            raise _invalid(name, f"the categories of {feature.name!r} are not in it")
    for source in (pipeline.events, pipeline.labels):
        for file in source.format.files:
            raise _invalid(name, f"the schema {file!r} is not in it")
    return pipeline


def _invalid(name: str, why: str) -> Invalid:
    return Invalid(f"the spec of {name} is not valid: {why}", reason="spec")
