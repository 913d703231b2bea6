"""One request followed through every process: OpenTelemetry traces, off unless an endpoint is set.

A trace has the id of the correlation id that commands, events and work carry anyway, so whoever reads a log line or an
event can look up its trace, and a trace goes on where nothing but the ledger connects two processes: a command's span
has the last half of the command's id, which every event names as its cause, and the request that began everything has
the last half of the correlation id. Between processes that talk to each other
the context travels as W3C `traceparent`, in HTTP and in NATS headers.

Where tracing is off, `span` is one look at a variable, and no OpenTelemetry package is even imported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal
from uuid import UUID

if TYPE_CHECKING:
    from lutlab_transport.otel import Spans

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attribute = str | bool | int | float

TRACEPARENT = "traceparent"
PARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_OFF: AbstractContextManager[None] = nullcontext()
_spans: Spans | None = None


def start_tracing(service: str, endpoint: str | None) -> None:
    """Send this process' spans to `endpoint` by OTLP over HTTP, e.g. `http://127.0.0.1:4318`; None or empty: make none.

    Args:
        service: `api`, `scheduler`, ...; shown as `lutlab-<service>`.
    """
    global _spans  # noqa: PLW0603 - as logging: one a process, set up once in `__main__`
    if endpoint:
        from lutlab_transport.otel import Spans  # noqa: PLC0415 - costs time and memory, so only where it is used

        _spans = Spans(service, endpoint)


def stop_tracing() -> None:
    """Send what waits, and make no more spans."""
    global _spans
    spans, _spans = _spans, None
    if spans is not None:
        spans.close()


def is_tracing() -> bool:
    """Whether spans are made."""
    return _spans is not None


def span(
    name: str,
    kind: Kind = "internal",
    *,
    headers: Mapping[str, str] | None = None,
    trace: UUID | None = None,
    ident: UUID | None = None,
    **attributes: Attribute,
) -> AbstractContextManager[None]:
    """A span for the time of the block; an exception that leaves it makes it an error.

    Its parent is what `headers` name, else the span around it, else nothing.

    Args:
        headers: of the message or request that caused it.
        trace: the correlation id: the trace's, where there is no parent.
        ident: the command it carries out, whose events will be found to be its children.
    """
    if _spans is None:
        return _OFF
    return _spans.span(name, kind, attributes, parent=parse_parent(headers), trace=trace, ident=ident)


def inner(name: str, kind: Kind, **attributes: Attribute) -> AbstractContextManager[None]:
    """A span where there is one around it, else nothing: for what also happens thousands of times within no request."""
    if _spans is None or _spans.current() is None:
        return _OFF
    return _spans.span(name, kind, attributes, parent=None, trace=None, ident=None)


def begin(name: str, kind: Kind, headers: Mapping[str, str] | None) -> Callable[[], None]:
    """A span that ends when what is returned is called, for work that no block of code surrounds.

    Nothing if `headers` name no parent: such work is too frequent to be traced by itself.
    """
    parent = None if _spans is None else parse_parent(headers)
    return _nothing if _spans is None or parent is None else _spans.begin(name, kind, parent)


def _nothing() -> None:
    pass


def under(trace: UUID, cause: UUID) -> AbstractContextManager[None]:
    """Makes spans in the block children of the command that caused an event, whichever process carried it out."""
    return _OFF if _spans is None else _spans.under((trace.int, half(cause), 1))


def note(name: str, **attributes: Attribute) -> None:
    """Something that happened within the span around it."""
    if _spans is not None:
        _spans.note(name, attributes)


def describe(name: str, **attributes: Attribute) -> None:
    """Name the span around it, which was not known when it began."""
    if _spans is not None:
        _spans.describe(name, attributes)


def carried(headers: dict[str, str] | None = None) -> dict[str, str] | None:
    """Headers for a message that the span around it sends."""
    context = None if _spans is None else _spans.current()
    if context is None:
        return headers
    trace_id, span_id, flags = context
    return {**(headers or {}), TRACEPARENT: f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"}


def parse_parent(headers: Mapping[str, str] | None) -> tuple[int, int, int] | None:
    """Trace id, span id and flags of a `traceparent` header; None if there is none that makes sense."""
    found = PARENT.fullmatch((headers or {}).get(TRACEPARENT) or "")
    return None if found is None else (int(found[1], 16), int(found[2], 16), int(found[3], 16))


def half(ident: UUID) -> int:
    """The span id of a command: the last 64 bits of its id."""
    return (ident.int & (2**64 - 1)) or 1
