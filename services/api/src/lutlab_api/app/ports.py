"""What the use cases need from the outside; `lutlab_api.adapters` and the tests' fakes provide it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from lutlab_api.domain.views import BoardView, EventView, JobDetail, JobView, KeyView, StoredAnswer
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
    """

    owner: str | None
    limit: int
    status: JobStatus | None = None
    type: JobType | None = None
    before: UUID | None = None


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

    async def job_log(self, job_id: UUID) -> str:
        """What a job's tools printed so far; empty if nothing."""
        ...

    async def events(self, wanted: EventFilter) -> list[EventView]:
        """Events, oldest first."""
        ...

    async def key(self, key_sha256: str) -> KeyView | None:
        """The key with this digest, revoked or not."""
        ...

    async def keys(self, limit: int) -> list[KeyView]:
        """Keys, newest first."""
        ...

    async def answer(self, command_id: UUID) -> StoredAnswer | None:
        """What this command was answered, if the scheduler has seen it."""
        ...

    async def ping(self) -> None:
        """Return if the database answers."""
        ...


class Blobs(Protocol):
    """Where uploads are kept."""

    async def put(self, data: bytes) -> str:
        """Store `data`; its SHA-256. Raises: Unavailable."""
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


class Monotonic(Protocol):
    """A clock for durations."""

    def __call__(self) -> float:
        """Seconds since some moment."""
        ...
