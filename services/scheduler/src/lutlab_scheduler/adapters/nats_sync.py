"""Whether NATS has a message on disk before it says so: read back from the server itself, not believed.

A JetStream server syncs its files every `sync_interval`, two minutes by default, and acknowledges before. A command
that was acknowledged and is lost when the power fails is only a command that is not answered, and is sent again; but a
report of an agent or a builder would be gone. So anything but `sync_interval: always` is refused unless told otherwise,
and so is a server that cannot be asked.
"""

from __future__ import annotations

from typing import Any

import httpx
import structlog

from lutlab_scheduler.app.ports import BusUnavailable, SchedulerError

log = structlog.get_logger(__name__)

TIMEOUT_S = 2.0
NANOS_PER_S = 1_000_000_000
UNCHECKED = (
    "nobody can say whether NATS has messages on disk before it acknowledges them: set LUTLAB_NATS_MONITOR_URL to its "
    "monitoring port (`http: ...` in its configuration, mostly port 8222), or LUTLAB_ALLOW_UNSAFE_SYNC=true to go on "
    "all the same"
)


class UnsafeSync(SchedulerError):
    """A NATS server acknowledges messages before they are on disk."""

    code = "unsafe_sync"


async def check_sync(monitor_urls: str, *, allow_unsafe: bool) -> None:
    """Ask every server's monitoring port (`/varz`) how it syncs; a server of a cluster may be away, but not all.

    Args:
        monitor_urls: `http://host:port`, several separated by commas; empty if there is none to ask.
        allow_unsafe: only warn.

    Raises:
        UnsafeSync: a server does not sync before it acknowledges, or there is none to ask.
        BusUnavailable: no monitoring port answers (yet).
    """
    urls = [url.strip().rstrip("/") for url in monitor_urls.split(",") if url.strip()]
    if not urls:
        _unsafe("", UNCHECKED, allow_unsafe=allow_unsafe)
        return
    silent: list[BusUnavailable] = []
    async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as http:  # NATS is behind nobody's proxy
        for url in urls:
            try:
                problem = unsafe(url, await _variables(http, url))
            except BusUnavailable as error:
                log.warning("nats_sync_unread", server=url, reason=str(error))
                silent.append(error)
                continue
            if problem is None:
                log.info("nats_sync_read_back", server=url, sync="always")
            else:
                _unsafe(url, problem, allow_unsafe=allow_unsafe)
    if len(silent) == len(urls):
        raise silent[0]


def _unsafe(url: str, problem: str, *, allow_unsafe: bool) -> None:
    if not allow_unsafe:
        raise UnsafeSync(problem)
    log.warning("nats_sync_unsafe", server=url, problem=problem)


async def _variables(http: httpx.AsyncClient, url: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = (await http.get(f"{url}/varz")).raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        raise BusUnavailable(f"NATS' monitoring port {url} (LUTLAB_NATS_MONITOR_URL): {error!r}") from error
    return found


def unsafe(url: str, variables: dict[str, Any]) -> str | None:
    """Why a server's settings are unsafe, None if they are safe. `variables` is what `/varz` answers."""
    config = (variables.get("jetstream") or {}).get("config") or {}
    if config.get("sync_always") is True:
        return None
    interval_s = config.get("sync_interval", 0) / NANOS_PER_S
    return (
        f"NATS at {url} acknowledges messages up to {interval_s:g} s before they are on disk: set `sync_interval: "
        "always` in its jetstream block, or LUTLAB_ALLOW_UNSAFE_SYNC=true to go on all the same"
    )
