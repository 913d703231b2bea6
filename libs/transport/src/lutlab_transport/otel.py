"""Spans by OpenTelemetry, exported by OTLP over HTTP; imported only where `lutlab_transport.tracing` is on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from uuid import UUID

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    get_current_span,
    set_span_in_context,
    use_span,
)

from lutlab_transport.tracing import Attribute, Kind, half

EXPORT_EVERY_MS = 1000
EXPORT_TIMEOUT_S = 5
SPANS_WAITING_MAX = 8192
"""Spans beyond these are dropped: an endpoint that is away costs memory up to here, and never a request."""

Place = tuple[int, int, int]
"""Trace id, span id, flags."""
_wanted: ContextVar[Place | None] = ContextVar("wanted", default=None)


class _Ids(RandomIdGenerator):
    """The ids that are wanted for the span that begins next, else random ones."""

    def generate_trace_id(self) -> int:
        """128 bits."""
        wanted = _wanted.get()
        return (wanted and wanted[0]) or super().generate_trace_id()

    def generate_span_id(self) -> int:
        """64 bits."""
        wanted = _wanted.get()
        return (wanted and wanted[1]) or super().generate_span_id()

    def is_trace_id_random(self) -> bool:
        """Not quite: six bits of a version-4 UUID are always the same."""
        return False


class Spans:
    """Makes and sends the spans of one process."""

    def __init__(self, service: str, endpoint: str) -> None:
        resource = Resource({"service.name": f"lutlab-{service}"})
        # Not made OpenTelemetry's global provider: libraries would begin to trace by themselves.
        self._provider = TracerProvider(resource=resource, id_generator=_Ids())
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_S)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=SPANS_WAITING_MAX, schedule_delay_millis=EXPORT_EVERY_MS)
        )
        self._tracer = self._provider.get_tracer("lutlab")

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()

    @contextmanager
    def span(
        self,
        name: str,
        kind: Kind,
        attributes: Mapping[str, Attribute],
        *,
        parent: Place | None,
        trace: UUID | None,
        ident: UUID | None,
    ) -> Iterator[None]:
        """See `lutlab_transport.tracing.span`."""
        with nullcontext() if parent is None else self.under(parent):
            token = _wanted.set((trace.int if trace else 0, half(ident) if ident else 0, 0))
            try:
                span = self._tracer.start_span(name, kind=SpanKind[kind.upper()], attributes=attributes)
            finally:
                _wanted.reset(token)
            with use_span(span, end_on_exit=True):
                yield

    def begin(self, name: str, kind: Kind, parent: Place) -> Callable[[], None]:
        """See `lutlab_transport.tracing.begin`."""
        context = set_span_in_context(NonRecordingSpan(_context(parent)))
        return self._tracer.start_span(name, context, kind=SpanKind[kind.upper()]).end

    @contextmanager
    def under(self, parent: Place) -> Iterator[None]:
        """Makes spans in the block children of one of another process."""
        with use_span(NonRecordingSpan(_context(parent))):
            yield

    def note(self, name: str, attributes: Mapping[str, Attribute]) -> None:
        """See `lutlab_transport.tracing.note`."""
        get_current_span().add_event(name, attributes)

    def describe(self, name: str, attributes: Mapping[str, Attribute]) -> None:
        """See `lutlab_transport.tracing.describe`."""
        span = get_current_span()
        span.update_name(name)
        span.set_attributes(attributes)

    def current(self) -> Place | None:
        """The span around the caller."""
        context = get_current_span().get_span_context()
        return (context.trace_id, context.span_id, int(context.trace_flags)) if context.is_valid else None


def _context(place: Place) -> SpanContext:
    trace_id, span_id, flags = place
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
