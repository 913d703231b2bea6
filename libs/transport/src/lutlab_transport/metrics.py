"""Prometheus metrics of a service, on a port of their own; off where no port is set."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lutlab_transport import tracing
from lutlab_transport.tracing import Attribute, Kind

BUCKETS_S = (0.001, 0.005, 0.025, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0)
READ_TIMEOUT_S = 2.0
HANDLED = Counter("lutlab_handled", "what a service carried out, by kind and outcome", ("work", "outcome"))
SECONDS = Histogram("lutlab_handling_seconds", "how long that took", ("work",), buckets=BUCKETS_S)


@dataclass(slots=True)
class Handling:
    """Something that is being carried out; `outcome` is told when it is over: few different words."""

    outcome: str = "ok"


@contextmanager
def handling(
    work: str,
    kind: Kind = "consumer",
    *,
    headers: Mapping[str, str] | None = None,
    trace: UUID | None = None,
    ident: UUID | None = None,
    **attributes: Attribute,
) -> Iterator[Handling]:
    """Counts and times a block, and makes it a span (`lutlab_transport.tracing.span`).

    Args:
        work: what is carried out, one of few: `decide SubmitBuild`, `build`, `lint`.
    """
    started, found = time.perf_counter(), Handling()
    try:
        with tracing.span(work, kind, headers=headers, trace=trace, ident=ident, **attributes):
            yield found
    except asyncio.CancelledError:
        found.outcome = "cancelled"
        raise
    except BaseException:
        found.outcome = "failed"
        raise
    finally:
        HANDLED.labels(work, found.outcome).inc()
        SECONDS.labels(work).observe(time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a gauge just now."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    help: str = ""


class StateCollector(Collector):
    """Gauges that are read from a service's state whenever they are asked for, in its own loop.

    Args:
        read: what to tell; called in `loop`, so it sees no half-made state.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, read: Callable[[], Iterable[Sample]]) -> None:
        self._loop = loop
        self._read = read

    def describe(self) -> list[Metric]:
        """Nothing: what there is depends on the state."""
        return []

    def collect(self) -> list[Metric]:
        """One family a name. Raises: TimeoutError if the loop does not answer: a scrape that fails is a signal too."""
        found: concurrent.futures.Future[list[Sample]] = concurrent.futures.Future()

        def read() -> None:
            try:
                found.set_result(list(self._read()))
            except Exception as error:
                found.set_exception(error)

        self._loop.call_soon_threadsafe(read)
        families: dict[str, GaugeMetricFamily] = {}
        for sample in found.result(READ_TIMEOUT_S):
            names = sorted(sample.labels)
            family = families.setdefault(sample.name, GaugeMetricFamily(sample.name, sample.help, labels=names))
            family.add_metric([sample.labels[name] for name in names], sample.value)
        return list(families.values())


def serve_metrics(
    port: int,
    read: Callable[[], Iterable[Sample]] = tuple,
    *,
    registry: CollectorRegistry = REGISTRY,
    address: str = "0.0.0.0",  # noqa: S104 - a scraper is on another host
) -> Callable[[], None]:
    """Answer scrapes on `port`, if it is not 0, from a thread; call it in the service's loop.

    Returns:
        What ends it.

    Raises:
        OSError: the port is taken; the message says so.
    """
    if not port:
        return lambda: None
    try:
        server, thread = start_http_server(port, address, registry=registry)
    except OSError as error:
        why = (
            f"metrics cannot be served at port {port}: {error.strerror}; each process of a host needs a port of its own"
        )
        raise OSError(error.errno, why) from error
    collector = StateCollector(asyncio.get_running_loop(), read)
    registry.register(collector)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()
        registry.unregister(collector)

    return stop
