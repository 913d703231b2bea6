"""The use cases a running API has, wired from its ports in one place."""

from __future__ import annotations

from dataclasses import dataclass

from lutlab_api.app.asking import Asking
from lutlab_api.app.audit import Audit, AuditLog, Post
from lutlab_api.app.auth import Authenticator
from lutlab_api.app.control import Control
from lutlab_api.app.health import HealthChecks
from lutlab_api.app.keys import Bootstrap, Keys
from lutlab_api.app.links import Links
from lutlab_api.app.ports import Blobs, Bus, Clock, Commands, Ids, Ledger, Messaging, Monotonic
from lutlab_api.app.queues import Queues, Standings
from lutlab_api.app.reads import Reads
from lutlab_api.app.run import Run
from lutlab_api.app.stream import StreamLimits, Streams
from lutlab_api.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What the API runs on."""

    ledger: Ledger
    blobs: Blobs
    commands: Commands
    bus: Bus
    messaging: Messaging
    clock: Clock
    ids: Ids
    monotonic: Monotonic
    audit_log: AuditLog
    post: Post
    queues: Queues


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything the routes call."""

    settings: Settings
    authenticator: Authenticator
    reads: Reads
    audit: Audit
    standings: Standings
    control: Control
    run: Run
    streams: Streams
    links: Links
    keys: Keys
    health: HealthChecks
    bootstrap: Bootstrap


def wire(settings: Settings, ports: Ports) -> Services:
    """The use cases over these ports."""
    asking = Asking(ports.commands, ports.ids, timeout_s=settings.command_timeout_s)
    authenticator = Authenticator(ports.ledger, ports.monotonic, memory_s=settings.key_memory_s)
    reads = Reads(ports.ledger, public_reads=settings.public_reads)
    secret = settings.bootstrap_key.get_secret_value() if settings.bootstrap_key else None
    bootstrap = Bootstrap(
        ports.commands, secret=secret, owner=settings.bootstrap_owner, timeout_s=settings.command_timeout_s
    )
    limits = StreamLimits(
        in_flight_max=settings.stream_in_flight_max,
        frame_bytes_max=settings.stream_frame_bytes_max,
        reply_timeout_s=settings.bus_timeout_s,
        keep_s=settings.stream_keep_s,
    )
    return Services(
        settings=settings,
        authenticator=authenticator,
        reads=reads,
        standings=Standings(ports.queues, ports.clock),
        audit=Audit(ports.audit_log, ports.post, ports.clock),
        control=Control(asking, ports.blobs, reads),
        run=Run(
            asking=asking,
            ledger=ports.ledger,
            reads=reads,
            bus=ports.bus,
            clock=ports.clock,
            timeout_s=settings.bus_timeout_s,
        ),
        streams=Streams(reads=reads, bus=ports.bus, clock=ports.clock, ids=ports.ids, limits=limits),
        links=Links(reads=reads, bus=ports.bus),
        keys=Keys(asking=asking, ledger=ports.ledger, authenticator=authenticator, ids=ports.ids),
        health=HealthChecks(ports.ledger, ports.messaging, bootstrap),
        bootstrap=bootstrap,
    )
