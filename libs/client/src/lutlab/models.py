"""What a lab answers, as typed values. Fields the lab adds later are ignored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from lutlab.errors import LutlabError

COMPLETE = "complete"
TERMINAL = frozenset({COMPLETE, "failed", "cancelled"})
"""Statuses of jobs that have ended."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every answer."""


class Session(Model, frozen=True, kw_only=True):
    """Somebody's right to a board until `expires_at`; use of the board pushes that away."""

    session_id: str
    fpga_id: int
    owner: str
    created_at: datetime
    expires_at: datetime


class Board(Model, frozen=True, kw_only=True):
    """A board.

    Attributes:
        state: `idle`, `queued`, `building`, `programming`, `reserved` or `error`.
        online: whether it can be reached.
        profile: its device profile.
        error: why its state is `error`; only `Client.board_error` asks for it.
    """

    fpga_id: int
    state: str
    owner: str | None = None
    session: Session | None = None
    current_job_id: str | None = None
    online: bool = True
    profile: str | None = None
    error: Failure | None = None


class Pin(Model, frozen=True, kw_only=True):
    """A pin of a design on a board without hardware.

    Attributes:
        name: `led0`, `button0`, `switch0`, `tx`, `rx`, or as the package calls it.
        pin: as the package calls it.
        way: `in` or `out` of the chip.
        level: 0 or 1.
    """

    name: str
    pin: str
    way: str
    level: int


class SignalShape(Model, frozen=True, kw_only=True):
    """Something of a running design that can be recorded, and how many bits it has."""

    name: str
    bits: int


class StorageUse(Model, frozen=True, kw_only=True):
    """What an owner has stored: designs, bitstreams, files of projects, what jobs left.

    Attributes:
        used_bytes: each content once, however many jobs and projects have it.
        limit_bytes: what would be more is refused with `storage_full`.
        blobs: how many different contents.
    """

    owner: str
    used_bytes: int
    limit_bytes: int
    left_bytes: int
    blobs: int


class Submitted(Model, frozen=True, kw_only=True):
    """A job that was accepted."""

    job_id: str
    fpga_id: int | None = None
    status: str


class Failure(Model, frozen=True, kw_only=True):
    """Why a job failed: a stable code and a sentence, with the tool's own words where a tool failed."""

    code: str
    message: str
    stage: str | None = None


class Job(Model, frozen=True, kw_only=True):
    """A job.

    Attributes:
        type: `build_and_program`, `run` or `reset`.
        status: `queued`, `running`, `complete`, `failed` or `cancelled`.
        build_stage: what a running build does now.
    """

    job_id: str
    fpga_id: int | None = None
    type: str
    status: str
    created_at: datetime
    updated_at: datetime
    build_stage: str | None = None
    error: Failure | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in TERMINAL

    @property
    def board(self) -> int:
        """The number of its board. Raises: LutlabError: it has none, or none yet."""
        if self.fpga_id is None:
            raise LutlabError(f"job {self.job_id} ({self.type}, {self.status}) has no board")
        return self.fpga_id


class Usage(Model, frozen=True, kw_only=True):
    """How much of a resource a design uses, and how much the device has."""

    used: int
    available: int


class StageTime(Model, frozen=True, kw_only=True):
    """How long a build stage took."""

    name: str
    seconds: float


class BuildReport(Model, frozen=True, kw_only=True):
    """What a build yielded.

    Attributes:
        util: `logic`, `ff`, `bram`, `dsp` -> usage.
        fmax_mhz: highest clock the tools found; None where the design has no timed path.
        target_mhz: what timing was graded against.
        timing_met: whether it reaches that.
    """

    util: dict[str, Usage]
    fmax_mhz: float | None = None
    target_mhz: float | None = None
    timing_met: bool | None = None
    stages: list[StageTime] = []
    warnings: list[str] = []
    toolchain: str = ""
    bitstream_bytes: int = 0


class JobDetail(Job, frozen=True, kw_only=True):
    """A job with everything the lab knows about it."""

    owner: str | None = None
    filename: str | None = None
    top: str | None = None
    attempt: int = 0
    cached: bool | None = None
    report: BuildReport | None = None


class OpResult(Model, frozen=True, kw_only=True):
    """How one operation of a batch went.

    Attributes:
        data: words read or written; of a modify the word before, of a poll the word read last.
        error: why it is not `ok`: `bus_error`, `bus_timeout` or `poll_timeout`.
    """

    ok: bool
    data: list[int] = []
    error: Failure | None = None


class RunResult(Model, frozen=True, kw_only=True):
    """What a bus transaction yielded: the words read, or those written; of a batch also each operation's."""

    ok: bool
    data: list[int] = []
    error: Failure | None = None
    ops: list[OpResult] = []


class BridgeWay(Model, frozen=True, kw_only=True):
    """Where a board's TCP bridge listens, and the token that opens it while the session lasts."""

    host: str
    port: int
    token: str


class Event(Model, frozen=True, kw_only=True):
    """Something that happened, as the lab's log keeps it."""

    position: int
    stream: str
    version: int
    type: str
    at: datetime
    actor: str = ""
    data: dict[str, Any] = {}


class EventPage(Model, frozen=True, kw_only=True):
    """Some events, and the position to go on after."""

    events: list[Event]
    next_after: int


class IssuedKey(Model, frozen=True, kw_only=True):
    """A new API key; it is shown only now."""

    api_key: str
    key_id: str | None = None
    owner: str
    role: str = "member"


class Key(Model, frozen=True, kw_only=True):
    """An API key, without its secret, which is kept nowhere."""

    key_id: str
    owner: str
    role: str
    label: str = ""
    scopes: list[str] = []
    team: str | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class KeyPage(Model, frozen=True, kw_only=True):
    """Some of the keys, and where to go on."""

    keys: list[Key]
    next_cursor: str | None = None


class RotatedKey(Model, frozen=True, kw_only=True):
    """A key's new secret; it is shown only now."""

    api_key: str
    key_id: str
    previous_until: datetime


class Health(Model, frozen=True, kw_only=True):
    """How the lab feels: `ok` or `degraded`."""

    status: str
