"""The explainer of a version, made when somebody first asks for an explanation."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from penstock.onnx.refused import Unexplainable

if TYPE_CHECKING:
    from penstock.kernel.policy import Task
    from penstock.onnx.explain import Explainer


class Explaining:
    """Keeps an artifact until it is to be explained; may be called from several threads.

    To read one takes a second of imports, once a process, and some 100 ms: whoever never asks does without.

    Args:
        artifact: ONNX bytes that `check` has passed.

    >>> from penstock.trainer.export import constant
    >>> Explaining(constant(2, [0.5]))("regression").base
    array([0.5])
    """

    __slots__ = ("_artifact", "_found", "_lock")

    def __init__(self, artifact: bytes) -> None:
        self._artifact: bytes | None = artifact
        self._found: Explainer | str = ""
        self._lock = threading.Lock()

    def __call__(self, task: Task) -> Explainer:
        """The explainer, for a version of a pipeline of this task.

        Raises:
            Unexplainable: the model is of a shape that cannot be explained; always the same one.
        """
        with self._lock:
            if self._artifact is not None:
                self._found = _read(self._artifact, task)
                self._artifact = None  # it has served its purpose
        if isinstance(self._found, str):
            raise Unexplainable(self._found)
        return self._found


def _read(artifact: bytes, task: Task) -> Explainer | str:
    """The explainer, or why there is none."""
    from penstock.onnx.explain import Explainer  # noqa: PLC0415 - the imports that few need

    try:
        return Explainer.of(artifact, task)
    except Unexplainable as why:
        return str(why)
    except (LookupError, ValueError, TypeError) as why:
        # What `check` does not look at, since no score hangs on it, may be anything.
        return f"its file is not what an explanation needs: {type(why).__name__}: {why}"
