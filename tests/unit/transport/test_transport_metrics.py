"""Metrics on a port of their own: what was handled, and the state as the loop sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import CollectorRegistry

from lutlab_stack.ports import free_port
from lutlab_transport.metrics import HANDLED, Sample, handling, serve_metrics


async def scrape(port: int) -> str:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"http://127.0.0.1:{port}/metrics")).raise_for_status().text


async def test_the_state_is_read_in_the_loop_when_it_is_asked_for() -> None:
    state = {"idle": 1}
    loops: set[object] = set()

    def read() -> Iterator[Sample]:
        loops.add(asyncio.get_running_loop())
        for name, count in state.items():
            yield Sample("boards", count, {"state": name}, "boards by state")

    port = free_port()
    stop = serve_metrics(port, read, registry=CollectorRegistry(), address="127.0.0.1")
    assert 'boards{state="idle"} 1.0' in await scrape(port)
    state["reserved"] = 2
    assert 'boards{state="reserved"} 2.0' in await scrape(port)
    assert loops == {asyncio.get_running_loop()}
    stop()
    with pytest.raises(httpx.ConnectError):
        await scrape(port)


async def test_a_port_that_another_process_has_is_named() -> None:
    port = free_port()
    stop = serve_metrics(port, registry=CollectorRegistry(), address="127.0.0.1")
    registry = CollectorRegistry()
    with pytest.raises(OSError, match=f"metrics cannot be served at port {port}: Address already in use"):
        serve_metrics(port, registry=registry, address="127.0.0.1")
    assert list(registry.collect()) == []
    stop()


def test_no_port_no_server() -> None:
    serve_metrics(0)()


@pytest.mark.parametrize(
    ("error", "outcome"), [(None, "ok"), (ValueError(), "failed"), (asyncio.CancelledError(), "cancelled")]
)
def test_everything_handled_is_counted_by_outcome(error: BaseException | None, outcome: str) -> None:
    def count() -> float:
        return HANDLED.labels("test", outcome)._value.get()

    before = count()
    try:
        with handling("test"):
            if error is not None:
                raise error
    except (ValueError, asyncio.CancelledError):
        pass
    assert count() == before + 1
