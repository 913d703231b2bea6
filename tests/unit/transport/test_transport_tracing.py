"""Traces: who is whose child, what travels in headers, and that off costs nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lutlab_transport import otel, tracing
from lutlab_transport.metrics import handling

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Spans in memory instead of on the wire."""
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(otel, "BatchSpanProcessor", lambda *_, **__: SimpleSpanProcessor(exporter))
    tracing.start_tracing("test", NOWHERE)
    yield exporter
    tracing.stop_tracing()


def named(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    (found,) = [span for span in spans.get_finished_spans() if span.name == name]
    return found


def test_a_trace_has_the_correlation_id_and_a_command_its_own(spans: InMemorySpanExporter) -> None:
    correlation, command = uuid4(), uuid4()
    with tracing.span("request", "server", trace=correlation), tracing.span("send", "producer", trace=correlation):
        headers = tracing.carried({"Nats-Msg-Id": "1"})
    assert headers is not None and headers["Nats-Msg-Id"] == "1"
    with tracing.span("decide", "consumer", headers=headers, trace=correlation, ident=command):
        pass
    with tracing.under(correlation, command), tracing.span("relay"):  # another process, which knows the event only
        pass
    request, send, decide, relay = (named(spans, name) for name in ("request", "send", "decide", "relay"))
    assert {span.context.trace_id for span in (request, send, decide, relay)} == {correlation.int}
    assert request.parent is None
    assert [span.parent.span_id for span in (send, decide, relay) if span.parent] == [
        request.context.span_id,
        send.context.span_id,
        decide.context.span_id,
    ]


def test_an_error_is_one_and_is_raised(spans: InMemorySpanExporter) -> None:
    with pytest.raises(KeyError), handling("build", trace=uuid4()):
        raise KeyError("x")
    assert not named(spans, "build").status.is_ok


def test_a_span_only_within_another(spans: InMemorySpanExporter) -> None:
    with tracing.inner("exchange", "client"):
        assert tracing.carried() is None
    with tracing.span("request", trace=uuid4()), tracing.inner("exchange", "client"):
        pass
    assert [span.name for span in spans.get_finished_spans()] == ["exchange", "request"]


def test_a_span_that_no_block_surrounds(spans: InMemorySpanExporter) -> None:
    tracing.begin("alone", "server", {})()
    with tracing.span("request", trace=uuid4()):
        over = tracing.begin("exchange", "server", tracing.carried())
    assert [span.name for span in spans.get_finished_spans()] == ["request"]
    over()
    parent = named(spans, "exchange").parent
    assert parent is not None and parent.span_id == named(spans, "request").context.span_id


@pytest.mark.parametrize(
    "sent", ["", "00", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "00-" + "1" * 32 + "-" + "0" * 16 + "-01", "x" * 9999]
)
def test_parents_that_make_no_sense(sent: str) -> None:
    assert tracing.parse_parent({"traceparent": sent}) is None
    assert tracing.parse_parent(None) is None


def test_off_is_nothing_at_all() -> None:
    headers = {"a": "b"}
    assert not tracing.is_tracing()
    assert tracing.span("x", trace=UUID(int=1)) is tracing.span("y", "server") is tracing.under(UUID(int=1), uuid4())
    assert tracing.carried(headers) is headers and tracing.carried() is None
    tracing.begin("x", "server", {"traceparent": f"00-{'1' * 32}-{'1' * 16}-01"})()
    tracing.note("x")
    tracing.describe("x")
    services = "lutlab_scheduler lutlab_builder lutlab_board_agent lutlab_webhooks lutlab_api"
    code = (
        f"import sys\nfor s in '{services}'.split(): __import__(s + '.__main__')\n"
        "assert 'opentelemetry.sdk' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
