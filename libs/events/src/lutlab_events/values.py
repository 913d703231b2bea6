"""Small values that ride inside commands, events and work items."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

import msgspec

Json = dict[str, Any]

LABEL = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
"""A label of a board, which jobs can ask for."""


class Frozen(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of every value: immutable, keyword-only; unknown fields are ignored so that old code reads new messages.

    The garbage collector does not look at them: what cannot change cannot be part of a cycle, and a replay that makes
    millions of them is three times as fast.
    """


class JobType(StrEnum):
    """What a job does (the contract's names)."""

    BUILD_AND_PROGRAM = "build_and_program"
    RUN = "run"
    RESET = "reset"


class JobStatus(StrEnum):
    """Where a job stands (the contract's names)."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({JobStatus.COMPLETE, JobStatus.FAILED, JobStatus.CANCELLED})


class BoardState(StrEnum):
    """Where a board stands, as the ledger knows it.

    The public API shows `RESETTING` and `RESTORING` as `programming`, and `LOST` as `error`.
    """

    IDLE = "idle"
    QUEUED = "queued"
    BUILDING = "building"
    PROGRAMMING = "programming"
    RESERVED = "reserved"
    RESTORING = "restoring"
    RESETTING = "resetting"
    ERROR = "error"
    LOST = "lost"


class Withdrawal(StrEnum):
    """Why a board gets no new jobs: an admin took it out, too many loads in a row failed, or it is gone for good."""

    MAINTENANCE = "maintenance"
    QUARANTINE = "quarantine"
    REMOVED = "removed"


class Role(StrEnum):
    """What an API key may do at most: an admin manages keys and acts for anyone; a member acts for its owner; a viewer
    reads what its owner and the owner's team may read."""

    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"


class Scope(StrEnum):
    """One thing a key may be good for.

    `submit` submits and cancels jobs, `run` uses and gives back boards, `read` reads, `agent` sees the lab's agents,
    `admin` manages keys and acts for anyone.
    """

    SUBMIT = "submit"
    RUN = "run"
    READ = "read"
    ADMIN = "admin"
    AGENT = "agent"


ROLE_SCOPES = {
    Role.ADMIN: frozenset(Scope),
    Role.MEMBER: frozenset({Scope.SUBMIT, Scope.RUN, Scope.READ}),
    Role.VIEWER: frozenset({Scope.READ}),
}
"""The most a key of a role may have; a key that names no scopes has all of them."""


class SessionEnd(StrEnum):
    """Why a session ended."""

    RELEASED = "released"
    EXPIRED = "expired"
    RESET = "reset"
    BOARD_FAILED = "board_failed"
    WITHDRAWN = "withdrawn"


class BitstreamRef(Frozen, frozen=True, kw_only=True):
    """A bitstream and what an agent must know to load it and talk to it.

    Attributes:
        digest: SHA-256 of the `.bit` file, 64 hexadecimal digits; its name in the blob store.
        size_bytes: its size.
        build_key: SHA-256 of everything that went into the build.
        build_id: first 32 bits of the build key; the design answers it in its hello.
        profile: the device profile it was built for.
        clk_hz: the design's clock as built.
        baud: the serial line's speed.
        address_words: size of the design's address space in 32-bit words.
    """

    digest: str
    size_bytes: int
    build_key: str
    build_id: int
    profile: str
    clk_hz: int
    baud: int
    address_words: int = 512


class BoardReport(Frozen, frozen=True, kw_only=True):
    """One board as its agent found it.

    Attributes:
        board_key: the agent's own stable name of the board, unique within the site.
        profile: its device profile.
        running_build_id: what the loaded design answered to a hello, None where nothing answered.
        epoch: the newest fencing epoch the agent has seen for this board, 0 for none.
        labels: free words to match jobs by.
    """

    board_key: str
    profile: str
    running_build_id: int | None = None
    epoch: int = 0
    labels: tuple[str, ...] = ()


class BusFailure(Frozen, frozen=True, kw_only=True):
    """Why bus traffic failed: a stable code and a sentence for a person."""

    code: str
    message: str


class RunStep(Frozen, frozen=True, kw_only=True):
    """One operation of a batch and what came of it.

    Attributes:
        op: 1 write, 2 read, 3 modify, 4 poll.
        address_bytes: byte address, a multiple of 4.
        count: words it transfers.
        data: words written or read; of a modify the word before, of a poll the word read last.
        mask, value: of a modify or poll.
        timeout_cycles: of a poll.
        failure: why it failed, None if it succeeded.
    """

    op: int
    address_bytes: int
    count: int = 1
    fixed_address: bool = False
    data: tuple[int, ...] = ()
    mask: int | None = None
    value: int | None = None
    timeout_cycles: int | None = None
    failure: BusFailure | None = None
