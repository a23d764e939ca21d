"""Which predictions of a pipeline are explained in the log without anybody asking."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import ConfigDict, Field

from penstock.kernel.hashing import share_of
from penstock.kernel.units import Real

_SALT: Final = "explain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explain:
    """The part of the pipeline file about explanations.

    Args:
        sample: the share of predictions that are logged with their attributions, chosen by their ids.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    sample: Annotated[Real, Field(ge=0, le=1)] = 0.0

    def takes(self, id_: str) -> bool:
        """Whether the prediction of this id is one of them: on every replica, and in every replay.

        >>> [Explain(sample=share).takes("UA-1545") for share in (0.0, 1.0)]
        [False, True]
        """
        return share_of(_SALT, id_) < self.sample
