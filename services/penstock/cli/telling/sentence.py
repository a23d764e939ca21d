"""`told`: what an event says. The modules beside this one know the sentences, one for each kind."""

from __future__ import annotations

import functools


@functools.singledispatch
def told(event: object) -> str:
    """What an event says, in a sentence, without its reason; its kind where there is no sentence for it.

    >>> from penstock.contracts.records import JobCompleted
    >>> told(JobCompleted(id="j", pipeline="churn", decision="d", candidate="c", causes=()))
    'the training is done'
    """
    return type(event).__name__
