"""Operators look: one request is followed through every process to the board, and every service has metrics."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from uuid import uuid4

import httpx
import pytest
from e2e_support import ROOT, eventually, reserve, running, submit, wait_job
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from lutlab_stack.ports import free_port

ECHO = ROOT / "examples/echo_memory/design.py"
SUBMITTED = {
    ("api", "POST /submit"),
    ("api", "send SubmitBuild"),
    ("scheduler", "decide SubmitBuild"),
    ("scheduler", "relay job.submitted.v1"),
    ("scheduler", "dispatch BuildWork"),
    ("builder", "build"),
    ("builder", "send ReportBuildSucceeded"),
    ("scheduler", "dispatch ProgramWork"),
    ("board-agent", "program"),
    ("board-agent", "send ReportProgrammed"),
    ("scheduler", "decide ReportProgrammed"),
}
RUN = {
    ("api", "POST /fpga/{fpga_id}/run"),
    ("api", "bus request"),
    ("board-agent", "bus exchange"),
    ("api", "send RecordRun"),
    ("scheduler", "decide RecordRun"),
}
Traces = dict[str, dict[str, tuple[str, Span]]]
"""Trace id -> span id -> service and span."""


@contextmanager
def collector() -> Iterator[tuple[str, Traces]]:
    """What OpenTelemetry's collector does: takes spans by OTLP over HTTP."""
    traces: Traces = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                data = gzip.decompress(data)
            for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
                service = {a.key: a.value.string_value for a in resource.resource.attributes}["service.name"]
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        traces.setdefault(span.trace_id.hex(), {})[span.span_id.hex()] = (service, span)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", traces
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_ports(count: int) -> list[int]:
    """Below the range of outgoing connections, of which a lab makes many before it listens here."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


def test_a_request_is_followed_to_the_board_and_every_service_tells_how_it_does(tmp_path: Path) -> None:
    ports = dict(zip(("SCHEDULER", "BUILDER", "AGENT", "WEBHOOKS"), free_ports(4), strict=True))
    with collector() as (endpoint, traces):
        env = {f"LUTLAB_{name}_METRICS_PORT": str(port) for name, port in ports.items()}
        with running(tmp_path / "data", "--boards", "1", env={**env, "LUTLAB_OTLP_ENDPOINT": endpoint}) as stack:
            with stack.client() as api:
                board = reserve(api, ECHO)
                asked = api.post(
                    f"/fpga/{board}/run",
                    json={"op": 2, "address": 0, "count": 4},
                    headers={"X-Request-ID": str(uuid4())},
                )
                assert asked.status_code == 202
                parent = f"00-{uuid4().hex}-{'7' * 16}-01"
                answer = api.get("/fpga", headers={"traceparent": parent})
                api.post(f"/fpga/{board}/session/release")
                job = wait_job(api, submit(api, ECHO))
                events = api.get(f"/api/v1/audit?stream=job-{job['job_id']}").json()["events"]
                told = {name: httpx.get(f"http://127.0.0.1:{port}/metrics").text for name, port in ports.items()}
            _whole(traces, events[0]["correlation_id"], SUBMITTED)
            _whole(traces, asked.headers["X-Request-ID"], RUN)
            outside = eventually("the caller's own trace", lambda: traces.get(parent[3:35]))
    (seen,) = outside.values()
    assert seen[1].parent_span_id.hex() == "7" * 16 and answer.headers["X-Request-ID"].replace("-", "") == parent[3:35]
    assert 'lutlab_boards{state="' in told["SCHEDULER"] and "lutlab_leading 1.0" in told["SCHEDULER"]
    assert 'lutlab_handled_total{outcome="ok",work="decide SubmitBuild"} 2.0' in told["SCHEDULER"]
    assert 'lutlab_handled_total{outcome="done",work="build"} 2.0' in told["BUILDER"]
    assert 'lutlab_board_attached{board="' in told["AGENT"] and 'work="program"' in told["AGENT"]
    assert "lutlab_webhook_attempts_total" in told["WEBHOOKS"]
    assert all("process_cpu_seconds_total" in text for text in told.values())


def _whole(traces: Traces, correlation_id: str, wanted: set[tuple[str, str]]) -> None:
    """Wait until a trace has these spans, and every span's parent: one tree with one root."""
    problem: list[object] = []

    def whole() -> bool:
        trace = dict(traces.get(correlation_id.replace("-", ""), {}))
        roots = [span.name for _, span in trace.values() if not span.parent_span_id]
        orphans = [s.name for _, s in trace.values() if s.parent_span_id and s.parent_span_id.hex() not in trace]
        missing = wanted - {(service.removeprefix("lutlab-"), span.name) for service, span in trace.values()}
        problem[:] = [roots, orphans, missing]
        return len(roots) == 1 and not orphans and not missing

    try:
        eventually("the whole trace", whole)
    except pytest.fail.Exception:
        pytest.fail(f"trace {correlation_id}: roots, orphans, missing: {problem}")
