"""What the use cases need from the outside; `lutlab_api.adapters` and the tests' fakes provide it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from lutlab_api.domain.views import AgentView, BoardView, EventView, JobDetail, JobView, KeyView, StoredAnswer
from lutlab_events.busmsg import BusHeaders, BusReply
from lutlab_events.commands import Command
from lutlab_events.envelope import Answer
from lutlab_events.values import JobStatus, JobType


class Clock(Protocol):
    """The wall clock."""

    def now(self) -> datetime:
        """The current time in UTC."""
        ...


class Ids(Protocol):
    """Where random ids and secrets come from."""

    def new(self) -> UUID:
        """A new id."""
        ...

    def secret(self) -> str:
        """A new secret."""
        ...


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Which jobs to list, newest first.

    Attributes:
        owner: whose; None for everybody's.
        before: only jobs submitted before this one.
        offset: how many to leave out at the beginning.
    """

    owner: str | None
    limit: int
    status: JobStatus | None = None
    type: JobType | None = None
    before: UUID | None = None
    offset: int = 0


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """Which events to list, oldest first.

    Attributes:
        after: only events after this position.
        stream: of this aggregate only.
        visible_to: only of boards, and of jobs of this owner; None for everything.
    """

    after: int
    limit: int
    stream: str | None = None
    visible_to: str | None = None


@dataclass(frozen=True, kw_only=True)
class KeyFilter:
    """Which keys to list, newest first.

    Attributes:
        owner: whose; None for everybody's.
        after: only keys behind this place in the order: when it was made, and its id.
        offset: how many to leave out at the beginning.
    """

    owner: str | None
    limit: int
    after: tuple[datetime | str, UUID] | None = None
    offset: int = 0


class Ledger(Protocol):
    """The ledger's views, to read. Every method raises `Unavailable` if the database does not answer."""

    async def boards(self) -> list[BoardView]:
        """Every board, by number."""
        ...

    async def board(self, fpga_id: int) -> BoardView | None:
        """One board."""
        ...

    async def job(self, job_id: UUID) -> JobView | None:
        """One job."""
        ...

    async def job_detail(self, job_id: UUID) -> JobDetail | None:
        """One job with everything known about it."""
        ...

    async def jobs(self, wanted: JobFilter) -> list[JobView]:
        """Jobs, newest first."""
        ...

    async def count_jobs(self, wanted: JobFilter) -> int:
        """How many jobs there are, whatever `limit`, `before` and `offset` say."""
        ...

    async def queue(self, limit: int) -> list[JobView]:
        """Builds that have not ended, oldest first."""
        ...

    async def agents(self) -> list[AgentView]:
        """Every agent, by name."""
        ...

    async def job_log(self, job_id: UUID) -> str:
        """What a job's tools printed so far; empty if nothing."""
        ...

    async def events(self, wanted: EventFilter) -> list[EventView]:
        """Events, oldest first."""
        ...

    async def key(self, key_sha256: str) -> KeyView | None:
        """The key that has this digest, or had it before its last rotation; revoked or not."""
        ...

    async def keys(self, wanted: KeyFilter) -> list[KeyView]:
        """Keys, newest first."""
        ...

    async def count_keys(self, owner: str | None) -> int:
        """How many keys there are; of one owner if given."""
        ...

    async def key_by_id(self, key_id: UUID) -> KeyView | None:
        """A key, revoked or not."""
        ...

    async def are_teammates(self, owner: str, team: str) -> bool:
        """Whether an owner has a valid key of a team."""
        ...

    async def answer(self, command_id: UUID) -> StoredAnswer | None:
        """What this command was answered, if the scheduler has seen it."""
        ...

    async def ping(self) -> None:
        """Return if the database answers."""
        ...

    async def toolchain(self) -> str | None:
        """What the report of the newest build says of its tools."""
        ...


class Shared(Protocol):
    """What several API processes must agree on, kept in the database. Every method raises `Unavailable`."""

    async def take(self, bucket: str, window_start: int, units: int) -> int:
        """Take units of a window, a new one if the bucket's is over; how many are taken now, these included."""
        ...

    async def take_seat(self, owner: str, holder: UUID, *, now: datetime, until: datetime, seats_max: int) -> bool:
        """Whether `owner` got one of its seats, until then."""
        ...

    async def keep_seat(self, holder: UUID, until: datetime) -> None:
        """Keep a seat longer."""
        ...

    async def free_seat(self, holder: UUID) -> None:
        """Give a seat back."""
        ...

    async def record_use(self, used: Mapping[UUID, datetime]) -> None:
        """When keys were used last."""
        ...

    async def sweep(self, before: datetime) -> None:
        """Delete limits and seats that were over before this moment."""
        ...


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who an identity provider says that a token belongs to."""

    login: str


class IdentityProvider(Protocol):
    """A place that knows people, e.g. GitHub."""

    async def whose(self, token: str) -> Identity:
        """Who a token belongs to.

        Raises:
            NotAuthenticated: `login_refused`: nobody it knows.
            ApiError: `login_unavailable`: it does not answer, or nonsense.
        """
        ...


class Blobs(Protocol):
    """Where uploads are kept."""

    async def put(self, data: bytes) -> str:
        """Store `data`; its SHA-256. Raises: Unavailable."""
        ...

    async def get(self, digest: str) -> bytes | None:
        """What has this SHA-256, None if nothing here has. Raises: Unavailable."""
        ...


class Commands(Protocol):
    """The way to the scheduler."""

    async def request(
        self,
        body: Command,
        *,
        command_id: UUID,
        actor: str,
        correlation_id: UUID,
        fingerprint: str,
        timeout_s: float,
    ) -> Answer:
        """Send a command and wait for its decided answer. Raises: Unavailable if none came in time."""
        ...


class Bus(Protocol):
    """The way to the boards' agents."""

    async def request(self, agent_id: str, headers: BusHeaders, frame: bytes, timeout_s: float) -> BusReply:
        """One request and its reply; requests made one after another arrive in that order.

        Raises:
            BoardFailure: `board_unreachable` (nobody listens: it was not delivered), or `board_timeout`.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class MessagingHealth:
    """Whether NATS answers, and whether a scheduler takes commands from it."""

    nats: bool
    scheduler: bool
    commands_waiting: int | None = None


class Messaging(Protocol):
    """The health of the message bus."""

    async def health(self) -> MessagingHealth:
        """Ask; never raises."""
        ...


class Changes(Protocol):
    """News from the log, as they are published."""

    def watch(self, stream: str) -> AbstractContextManager[asyncio.Event]:
        """An event that is set whenever something happened on a stream, for the time of the block."""
        ...

    def watch_all(self) -> AbstractContextManager[asyncio.Event]:
        """The same for every stream."""
        ...


class Monotonic(Protocol):
    """A clock for durations."""

    def __call__(self) -> float:
        """Seconds since some moment."""
        ...
