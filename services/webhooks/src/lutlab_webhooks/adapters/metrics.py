"""Prometheus metrics of the delivery, on a port of their own."""

from __future__ import annotations

from collections import Counter

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector


class AttemptCollector(Collector):
    """Attempts by outcome, whoever of this process' couriers made them."""

    def __init__(self, attempted: Counter[str]) -> None:
        self._attempted = attempted

    def collect(self) -> list[Metric]:
        """One family."""
        family = CounterMetricFamily("lutlab_webhook_attempts", "attempts by outcome", labels=["outcome"])
        for outcome in ("delivered", "failed"):
            family.add_metric([outcome], self._attempted[outcome])
        return [family]


def serve_metrics(attempted: Counter[str], port: int) -> None:
    """Answer scrapes from a thread until the process ends."""
    registry = CollectorRegistry()
    registry.register(AttemptCollector(attempted))
    start_http_server(port, registry=registry)
