"""The use cases a running API has, wired from its ports in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lutlab_api.app.artifacts import Artifacts
from lutlab_api.app.asking import Asking
from lutlab_api.app.audit import Audit, AuditLog, AuditRow, Post
from lutlab_api.app.auth import ANONYMOUS, Authenticator
from lutlab_api.app.bridges import Bridges
from lutlab_api.app.control import Control
from lutlab_api.app.follow import Follower, LogSource
from lutlab_api.app.health import HealthChecks
from lutlab_api.app.job_stream import JobStreams
from lutlab_api.app.keys import Bootstrap, Keys
from lutlab_api.app.limits import Limiter
from lutlab_api.app.links import Links
from lutlab_api.app.logins import Logins
from lutlab_api.app.pins import Pins
from lutlab_api.app.ports import (
    Blobs,
    Bus,
    Changes,
    Clock,
    Commands,
    IdentityProvider,
    Ids,
    Ledger,
    Messaging,
    Monotonic,
    Shared,
)
from lutlab_api.app.projects import Projects
from lutlab_api.app.queues import Queues, Standings
from lutlab_api.app.reads import Reads
from lutlab_api.app.reports import Reports
from lutlab_api.app.run import Run
from lutlab_api.app.seats import Seats
from lutlab_api.app.storage import Storage, StorageStore
from lutlab_api.app.stream import StreamLimits, Streams
from lutlab_api.app.throttle import Throttle
from lutlab_api.app.usage import KeyUsage
from lutlab_api.app.verification_ports import Checker, Live, VerificationStore
from lutlab_api.app.verification_stream import VerificationStreams
from lutlab_api.app.verifications import Verifications
from lutlab_api.app.waiting import Waiting
from lutlab_api.app.webhooks import Hooks, Webhooks
from lutlab_api.settings import Settings
from lutlab_hooks.addresses import networks


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
    shared: Shared
    changes: Changes
    hooks: Hooks
    log_source: LogSource
    storage: StorageStore
    verification: VerificationStore
    checker: Checker
    live: Live
    identities: IdentityProvider | None = None


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
    bridges: Bridges
    pins: Pins
    keys: Keys
    health: HealthChecks
    bootstrap: Bootstrap
    logins: Logins
    usage: KeyUsage
    limiter: Limiter
    seats: Seats
    waiting: Waiting
    webhooks: Webhooks
    follower: Follower
    job_streams: JobStreams
    artifacts: Artifacts
    projects: Projects
    verifications: Verifications
    verification_streams: VerificationStreams
    reports: Reports
    storage: Storage


def wire(settings: Settings, ports: Ports, tell: Callable[[AuditRow], bytes]) -> Services:
    """The use cases over these ports."""
    follower = Follower(ports.log_source, ports.changes, tell)
    asking = Asking(ports.commands, ports.ids, timeout_s=settings.command_timeout_s)
    usage = KeyUsage(ports.shared, ports.clock)
    throttle = Throttle(ports.monotonic, failures_max=settings.failed_attempts_max)
    authenticator = Authenticator(
        ports.ledger,
        ports.monotonic,
        ports.clock,
        memory_s=settings.key_memory_s,
        throttle=throttle,
        usage=usage,
        nobody=None if settings.auth_enabled else ANONYMOUS,
    )
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
    keys = Keys(asking=asking, ledger=ports.ledger, authenticator=authenticator, ids=ports.ids, clock=ports.clock)
    storage = Storage(ports.storage, ports.ledger, ports.monotonic, bytes_max=settings.owner_bytes_max)
    projects = Projects(asking, ports.verification, ports.ledger, ports.blobs, storage)
    verifications = Verifications(
        asking=asking,
        store=ports.verification,
        blobs=ports.blobs,
        projects=projects,
        checker=ports.checker,
        live=ports.live,
    )
    return Services(
        settings=settings,
        authenticator=authenticator,
        reads=reads,
        standings=Standings(ports.queues, ports.clock),
        audit=Audit(ports.audit_log, ports.post, ports.clock),
        control=Control(asking, ports.blobs, reads, storage),
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
        bridges=Bridges(reads=reads, bus=ports.bus, clock=ports.clock),
        pins=Pins(reads=reads, bus=ports.bus, clock=ports.clock),
        keys=keys,
        health=HealthChecks(ports.ledger, ports.messaging, bootstrap, ports.monotonic),
        bootstrap=bootstrap,
        logins=Logins(
            keys=keys,
            provider=ports.identities,
            throttle=throttle,
            clock=ports.clock,
            allowed=frozenset(name.strip() for name in settings.github_logins.split(",") if name.strip()),
            role=settings.github_role,
            key_days=settings.github_key_days,
        ),
        usage=usage,
        limiter=Limiter(ports.shared, ports.clock),
        seats=Seats(ports.shared, ports.clock, ports.ids, seats_max=settings.websockets_max),
        artifacts=Artifacts(reads, ports.blobs),
        projects=projects,
        verifications=verifications,
        storage=storage,
        reports=Reports(ports.verification, ports.blobs, verifications, projects),
        verification_streams=VerificationStreams(ports.verification, ports.changes, ports.live, follower),
        follower=follower,
        job_streams=JobStreams(ports.log_source, ports.ledger, ports.changes, follower),
        webhooks=Webhooks(
            asking=asking,
            hooks=ports.hooks,
            ids=ports.ids,
            clock=ports.clock,
            key=settings.webhooks_key.get_secret_value() if settings.webhooks_key else None,
            allowed=networks(settings.webhooks_allow_networks),
        ),
        waiting=Waiting(ports.changes, ports.monotonic, waits_max=settings.waits_max),
    )
