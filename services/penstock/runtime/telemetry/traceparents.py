"""W3C trace context on records and calls: `00-<trace id>-<span id>-<flags>`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from penstock.runtime.records import column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from penstock.runtime.broker import Headers, Record

# What the conventions allow a span; a batch rarely has more, since records sent together share one creator.
LINKS: Final = 128
_FORM: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?:-.*)?"
)


def parse(text: str) -> SpanContext | None:
    """The span a header names; None where it names none, for a stranger's bad header is no error of ours."""
    form = _FORM.fullmatch(text)
    if form is None:
        return None
    trace, span, flags = (int(part, 16) for part in form.groups())
    context = SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(flags & 1))
    return context if context.is_valid else None


def links(records: Sequence[Record]) -> list[Link]:
    """One link for each span that created a record of the batch, the earliest 128 of them."""
    headers_of_all = (header for headers in column(records, "headers") for header in headers)
    creators = dict.fromkeys(value for name, value in headers_of_all if name == "traceparent")
    found = (parse(creator.decode("ascii", "replace")) for creator in creators)
    return [Link(context) for context in found if context is not None][:LINKS]


def parent(traceparent: str | None) -> Context | None:
    """The caller's span as the parent to be; None makes a root."""
    context = parse(traceparent) if traceparent else None
    return set_span_in_context(NonRecordingSpan(context)) if context else None


def headers(span: Span) -> Headers:
    """The headers that name this span as a record's creator; none where nothing is traced."""
    context = span.get_span_context()
    if not context.is_valid:
        return ()
    text = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    return (("traceparent", text.encode()),)
