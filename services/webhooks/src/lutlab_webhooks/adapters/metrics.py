"""What Prometheus is told of the deliveries."""

from __future__ import annotations

from collections import Counter

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from lutlab_transport.metrics import serve_metrics


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


def serve_attempts(attempted: Counter[str], port: int) -> None:
    """Answer scrapes until the process ends, if the port is not 0; call it in the service's loop, once."""
    if port:
        REGISTRY.register(AttemptCollector(attempted))
        serve_metrics(port)
