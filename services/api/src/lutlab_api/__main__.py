"""`lutlab-api`: the HTTP server. The only place that constructs adapters."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
import time
from collections.abc import Sequence
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI
from nats.aio.client import Client

from lutlab_api.adapters.audit import NatsPost, PostgresAudit
from lutlab_api.adapters.changes import NatsChanges
from lutlab_api.adapters.checker import ConfigChecker
from lutlab_api.adapters.follow import PostgresFollow
from lutlab_api.adapters.github import GitHub
from lutlab_api.adapters.hooks import PostgresHooks
from lutlab_api.adapters.key_answers import KeyAnswers
from lutlab_api.adapters.live import NatsLive
from lutlab_api.adapters.messaging import NatsBus, NatsMessaging
from lutlab_api.adapters.postgres import Postgres
from lutlab_api.adapters.queue import PostgresQueues
from lutlab_api.adapters.shared import PostgresShared
from lutlab_api.adapters.storage import PostgresStorage
from lutlab_api.adapters.verification import PostgresVerification
from lutlab_api.app.auth import ANONYMOUS
from lutlab_api.app.background import kept_running
from lutlab_api.app.cancelling import end
from lutlab_api.domain.hosts import is_this_machine
from lutlab_api.settings import Settings
from lutlab_api.web.application import VERSION, create_app
from lutlab_api.web.protocol import Protocol
from lutlab_api.web.routes_live import tell
from lutlab_api.web.services import Ports, wire
from lutlab_transport.clock import RandomIds, SteadyClock
from lutlab_transport.logging import setup_logging
from lutlab_transport.settings import EXIT_USAGE, explained, read
from lutlab_transport.tracing import start_tracing, stop_tracing

log = structlog.get_logger(__name__)

BACKLOG_MAX = 2048
KEEP_ALIVE_S = 30
"""Longer than a client's polling interval, so that polls share a connection."""


def build(settings: Settings) -> FastAPI:
    """The application over real servers, which need not be there yet."""
    clock, ids = SteadyClock(), RandomIds()
    postgres = Postgres(settings.database_url, clock, connections_max=settings.postgres_connections_max)
    changes = NatsChanges(site=settings.site)
    live = NatsLive(site=settings.site, monotonic=time.monotonic)
    key_answers = KeyAnswers(site=settings.site)

    async def connected(client: Client) -> None:
        await changes.subscribe(client)
        await live.subscribe(client)
        await key_answers.subscribe(client)

    messaging = NatsMessaging(
        settings.nats_url,
        site=settings.site,
        clock=clock,
        ids=ids,
        nkey_seed_file=settings.nats_nkey_seed_file,
        token=settings.nats_token.get_secret_value() if settings.nats_token else None,
        connected=connected,
    )
    ports = Ports(
        ledger=postgres,
        blobs=postgres,
        commands=messaging,
        bus=NatsBus(messaging, site=settings.site),
        messaging=messaging,
        clock=clock,
        ids=ids,
        monotonic=time.monotonic,
        audit_log=PostgresAudit(postgres),
        post=NatsPost(messaging, site=settings.site),
        queues=PostgresQueues(postgres),
        shared=PostgresShared(postgres),
        changes=changes,
        hooks=PostgresHooks(postgres),
        log_source=PostgresFollow(postgres),
        storage=PostgresStorage(postgres),
        verification=PostgresVerification(postgres),
        checker=ConfigChecker(),
        live=live,
        identities=GitHub(settings.github_api_url) if settings.github_api_url else None,
    )
    services = wire(settings, ports, tell)
    changes.on_key = services.authenticator.forget
    key_answers.refusal = services.authenticator.refusal
    background: set[asyncio.Task[None]] = set()

    async def start() -> None:
        await postgres.start()
        await messaging.start()
        for name, run in (
            ("bootstrap", services.bootstrap.run),
            ("usage", services.usage.run),
            ("follower", services.follower.run),
        ):
            background.add(asyncio.create_task(kept_running(name, run)))

    async def stop() -> None:
        await end(background)
        await services.usage.write()
        await messaging.stop()
        await postgres.stop()

    return create_app(services, ids, start=start, stop=stop)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lutlab-api",
        description="The lab's HTTP and WebSocket server. It needs Postgres, NATS and a scheduler, and waits for them.",
        epilog=explained(Settings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", help="address to listen on (LUTLAB_API_HOST)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one (LUTLAB_API_PORT)")
    parser.add_argument("--version", action="version", version=VERSION)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    options = _parser().parse_args(arguments)
    given = {"api_host": options.host, "api_port": options.port}
    settings = read(Settings, "lutlab-api", **{name: value for name, value in given.items() if value is not None})
    refuse_to_be_open(settings)
    setup_logging("api", level=settings.log_level)
    start_tracing("api", settings.otlp_endpoint)
    try:
        serve(settings)
    finally:
        stop_tracing()


def refuse_to_be_open(settings: Settings) -> None:
    """Pass a lab that asks for keys, that only this machine reaches, or that is meant to be open.

    Raises:
        SystemExit: everybody in the network would have a key; says how to go on.
    """
    if settings.auth_enabled or settings.open_names or is_this_machine(settings.api_host):
        return
    sys.stderr.write(
        f"lutlab-api: LUTLAB_AUTH_ENABLED=false, and {settings.api_host!r} can be reached from other machines: whoever "
        "does so could use the boards. Listen on 127.0.0.1 (LUTLAB_API_HOST), ask for keys, or, if you want just that, "
        "name the lab in LUTLAB_OPEN_HOSTS, e.g. localhost where a container publishes its port to this machine only\n"
    )
    raise SystemExit(EXIT_USAGE)


class Server(uvicorn.Server):
    """uvicorn, with streams that end by themselves once it is told to stop."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop."""
        app = self.config.app
        assert isinstance(app, FastAPI)
        app.state.services.follower.close()
        super().handle_exit(sig, frame)


def bound(config: uvicorn.Config, stalled_s: float) -> socket.socket:
    """The socket to listen on, whose connections the kernel cuts where a client takes nothing for `stalled_s`.

    That ends whatever waits for such a client: a download, a job's stream over a WebSocket, a frame of a board's.

    Raises:
        SystemExit: the address cannot be had; says which and what to do.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((config.host, config.port))
    except OSError as error:
        listening.close()
        where = f"{config.host}, port {config.port}"
        sys.exit(
            f"lutlab-api: cannot listen on {where}: {error.strerror}; choose with LUTLAB_API_HOST and LUTLAB_API_PORT"
        )
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux; accepted connections inherit it
    if option is not None:
        listening.setsockopt(socket.IPPROTO_TCP, option, round(stalled_s * 1000))
    return listening


def server_config(settings: Settings, app: FastAPI) -> uvicorn.Config:
    """How the application is served."""
    return uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http=Protocol,
        ws="websockets-sansio",
        ws_max_size=settings.stream_message_bytes_max,
        ws_per_message_deflate=False,
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=BACKLOG_MAX,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.api_shutdown_s,
        forwarded_allow_ips=[proxy.strip() for proxy in settings.api_proxies.split(",")],
    )


def serve(settings: Settings) -> None:
    """Serve the application."""
    config = server_config(settings, build(settings))
    listening = bound(config, settings.client_stalled_s)
    port = listening.getsockname()[1]
    log.info("api_started", host=settings.api_host, port=port, site=settings.site, version=VERSION)
    if not settings.auth_enabled:
        log.warning("no_key_is_asked_for", host=settings.api_host, acts_as=ANONYMOUS.owner)
    # uvicorn stops gracefully at these signals, then raises them again for whoever was there before: this.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    try:
        Server(config).run(sockets=[listening])
    finally:
        log.info("api_stopped")


def _leave(number: int, frame: FrameType | None) -> None:
    """End the process, content."""
    raise SystemExit(0)


if __name__ == "__main__":
    main()
