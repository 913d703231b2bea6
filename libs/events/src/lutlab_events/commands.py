"""Commands: requests to the scheduler, in the imperative. Ids and times are decided by the sender and ride along."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from lutlab_events.values import BitstreamRef, BoardReport, BusFailure, Frozen, Json, Role, RunStep, Scope
from lutlab_events.verification import VerificationCommand
from lutlab_events.webhooks import WebhookCommand


class SubmitBuild(Frozen, frozen=True, kw_only=True, tag=True):
    """Build a design and program a board with it.

    Attributes:
        job_id: the new job.
        owner: on whose behalf.
        source_digest: SHA-256 of the uploaded file; it is in the `blobs` table before this command is sent.
        source_bytes: its size; 0 from senders that do not say.
        filename: `design.py`, `design.v` or `project.zip`; its suffix selects the language.
        top: class or module to build, None to find the only one with the Wishbone contract.
        sys_clk_hz: the user domain's clock; None for the profile's oscillator.
        timing_target_mhz: what timing is graded against; None for the clock itself.
        fpga_id: the board to claim at once (older generation), None for any.
        profile: the device profile to build for, None for that of the board or the default.
        labels: labels the board must have.
        priority: higher goes first.
    """

    job_id: UUID
    owner: str
    source_digest: str
    filename: str
    source_bytes: int = 0
    top: str | None = None
    sys_clk_hz: int | None = None
    timing_target_mhz: float | None = None
    fpga_id: int | None = None
    profile: str | None = None
    labels: tuple[str, ...] = ()
    priority: int = 0


class CancelJob(Frozen, frozen=True, kw_only=True, tag=True):
    """Stop a job that has not ended. The older generation's route sets `fpga_id` and cancels queued jobs only."""

    job_id: UUID
    owner: str
    is_admin: bool = False
    fpga_id: int | None = None


class RecordRun(Frozen, frozen=True, kw_only=True, tag=True):
    """Record a finished bus transaction as a job of type `run`.

    Attributes:
        op: 1 write, 2 read, 0 a batch.
        address_bytes: byte address, a multiple of 4; of a batch, that of its first operation.
        count: words transferred; of a batch, all of them.
        data: words written, or words read; empty for a batch.
        failure: why it failed, None if it succeeded; of a batch, the first failure.
        is_admin: whether the caller may use anyone's session.
        ops: the operations of a batch.
    """

    job_id: UUID
    owner: str
    fpga_id: int
    session_id: UUID
    op: int
    address_bytes: int
    count: int
    fixed_address: bool
    data: tuple[int, ...] = ()
    failure: BusFailure | None = None
    is_admin: bool = False
    ops: tuple[RunStep, ...] = ()


class ResetBoard(Frozen, frozen=True, kw_only=True, tag=True):
    """Load the base design into a reserved or failed board, ending any session. Recorded as a job of type `reset`.

    Attributes:
        session_id: as in `ReleaseSession`; a board without a session is reset whatever this says.
    """

    job_id: UUID
    owner: str
    fpga_id: int
    is_admin: bool = False
    session_id: UUID | None = None


class ReleaseSession(Frozen, frozen=True, kw_only=True, tag=True):
    """Give the board back: end the session and reset the board. Recorded as a job of type `reset`.

    Attributes:
        session_id: the session that is meant, so that a command that comes late ends none that began meanwhile; one
            that never was where the sender saw none. None, from older senders: whichever there is.
    """

    job_id: UUID
    owner: str
    fpga_id: int
    is_admin: bool = False
    session_id: UUID | None = None


class IssueKey(Frozen, frozen=True, kw_only=True, tag=True):
    """Make an API key known by its SHA-256; the key itself is shown once by whoever made it and stored nowhere.

    Attributes:
        scopes: what it is good for, None for everything its role allows.
        team: whose jobs its owner may read beside the own ones.
        expires_at: when it stops working, None for never.
    """

    key_id: UUID
    key_sha256: str
    owner: str
    role: Role = Role.MEMBER
    label: str = ""
    scopes: tuple[Scope, ...] | None = None
    team: str | None = None
    expires_at: datetime | None = None


class RevokeKey(Frozen, frozen=True, kw_only=True, tag=True):
    """Make an API key worthless."""

    key_id: UUID


class RotateKey(Frozen, frozen=True, kw_only=True, tag=True):
    """Give a key another secret; the one before works until `previous_until`."""

    key_id: UUID
    key_sha256: str
    previous_until: datetime


class RegisterAgent(Frozen, frozen=True, kw_only=True, tag=True):
    """An agent started, or was asked to say again what it has.

    Attributes:
        agent_id: the agent's stable name.
        incarnation: a new id each time the agent process starts.
        boards: every board it serves now.
    """

    agent_id: str
    incarnation: UUID
    boards: tuple[BoardReport, ...]


class LoseAgent(Frozen, frozen=True, kw_only=True, tag=True):
    """From a timer: the agent's lease lapsed."""

    agent_id: str
    incarnation: UUID


class ReportBoardLost(Frozen, frozen=True, kw_only=True, tag=True):
    """An agent found one of its boards unplugged."""

    fpga_id: int
    agent_id: str
    message: str


class ReportBoardFound(Frozen, frozen=True, kw_only=True, tag=True):
    """An agent found one of its boards plugged in again."""

    fpga_id: int
    agent_id: str
    report: BoardReport


class ReportProgrammed(Frozen, frozen=True, kw_only=True, tag=True):
    """An agent loaded the bitstream of this epoch and the design answered its hello."""

    fpga_id: int
    epoch: int


class ReportProgramFailed(Frozen, frozen=True, kw_only=True, tag=True):
    """An agent could not load the bitstream of this epoch."""

    fpga_id: int
    epoch: int
    code: str
    message: str


class ReportSessionUsed(Frozen, frozen=True, kw_only=True, tag=True):
    """An agent saw bus traffic of this session; renews its time to live. Sent at most every few seconds."""

    fpga_id: int
    session_id: UUID
    epoch: int


class ReportBuildStarted(Frozen, frozen=True, kw_only=True, tag=True):
    """A builder took the job."""

    job_id: UUID
    attempt: int
    builder_id: str


class ReportBuildStage(Frozen, frozen=True, kw_only=True, tag=True):
    """A builder entered a stage: `elaborate`, `synthesize`, `place-and-route`, `pack`."""

    job_id: UUID
    attempt: int
    stage: str


class ReportBuildSucceeded(Frozen, frozen=True, kw_only=True, tag=True):
    """A builder made the bitstream (or had it); it is in the blob store."""

    job_id: UUID
    attempt: int
    bitstream: BitstreamRef
    report: Json
    cached: bool


class ReportBuildFailed(Frozen, frozen=True, kw_only=True, tag=True):
    """A build failed: `code` is stable, `message` has the tool's own words with file and line."""

    job_id: UUID
    attempt: int
    code: str
    message: str
    stage: str | None = None


class ReportBaseBuilt(Frozen, frozen=True, kw_only=True, tag=True):
    """A builder has the base design of this profile; it is in the blob store."""

    profile: str
    bitstream: BitstreamRef


class ExpireSession(Frozen, frozen=True, kw_only=True, tag=True):
    """From a timer: the session's time to live may have run out; decided against `now`."""

    fpga_id: int
    session_id: UUID
    now: datetime


class ExpireDeadline(Frozen, frozen=True, kw_only=True, tag=True):
    """From a timer: loading a board (this epoch) took longer than allowed."""

    fpga_id: int
    epoch: int
    now: datetime


class ExpireBuild(Frozen, frozen=True, kw_only=True, tag=True):
    """From a timer: a build attempt took longer than allowed."""

    job_id: UUID
    attempt: int
    now: datetime


class AssignBoard(Frozen, frozen=True, kw_only=True, tag=True):
    """From matching: program this idle board for this built job."""

    job_id: UUID
    fpga_id: int
    session_id: UUID


class RetryBuild(Frozen, frozen=True, kw_only=True, tag=True):
    """From the scheduler itself: this attempt's bitstream was lost with NATS before it was copied; build again."""

    job_id: UUID
    attempt: int
    reason: str


class RetryReset(Frozen, frozen=True, kw_only=True, tag=True):
    """From a policy: a reset failed; try again under a new epoch."""

    fpga_id: int
    failed_epoch: int


class WithdrawBoard(Frozen, frozen=True, kw_only=True, tag=True):
    """From an admin: give this board no new jobs; with `kick`, end its session now instead of letting it run out."""

    fpga_id: int
    owner: str
    reason: str
    kick: bool = False


class ReturnBoard(Frozen, frozen=True, kw_only=True, tag=True):
    """From an admin: give this board jobs again, whyever it got none."""

    fpga_id: int
    owner: str
    reason: str = ""


class ForgetBoard(Frozen, frozen=True, kw_only=True, tag=True):
    """From an admin: this board, which cannot be reached, is gone for good. It returns if it is ever found again."""

    fpga_id: int
    owner: str
    reason: str = ""


class CheckBoard(Frozen, frozen=True, kw_only=True, tag=True):
    """From a timer: a quarantined board is due for a health check, i.e. a load of its base design."""

    fpga_id: int
    epoch: int
    now: datetime


Command = (
    SubmitBuild
    | CancelJob
    | RecordRun
    | ResetBoard
    | ReleaseSession
    | IssueKey
    | RevokeKey
    | RotateKey
    | RegisterAgent
    | LoseAgent
    | ReportBoardLost
    | ReportBoardFound
    | ReportProgrammed
    | ReportProgramFailed
    | ReportSessionUsed
    | ReportBuildStarted
    | ReportBuildStage
    | ReportBuildSucceeded
    | ReportBuildFailed
    | ReportBaseBuilt
    | ExpireSession
    | ExpireDeadline
    | ExpireBuild
    | AssignBoard
    | RetryBuild
    | RetryReset
    | WithdrawBoard
    | ReturnBoard
    | ForgetBoard
    | CheckBoard
    | WebhookCommand
    | VerificationCommand
)
