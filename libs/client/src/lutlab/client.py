"""A lab as Python sees it: typed, blocking; what is repeated, and how safely, is in `lutlab.http`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, SupportsIndex

from lutlab.batch import OP_READ, OP_WRITE, Batch
from lutlab.designs import Design, upload
from lutlab.errors import JobFailed, LutlabError, Refused, TimedOut, Unreachable
from lutlab.http import TIMEOUT_S, Http
from lutlab.models import (
    COMPLETE,
    TERMINAL,
    Board,
    BridgeWay,
    Event,
    EventPage,
    Failure,
    Health,
    IssuedKey,
    Job,
    JobDetail,
    Key,
    KeyPage,
    OpResult,
    Pin,
    RotatedKey,
    RunResult,
    Session,
    SignalShape,
    StorageUse,
    Submitted,
)
from lutlab.stream import WORD_BYTES, BoardStream
from lutlab.verification import VerificationClient
from lutlab.words import checked
from lutlab_bus.stream import WORDS_MAX

CAPTURE_TIMEOUT_S = 30.0
"""In addition to what a capture may wait for its trigger."""
JOB_TIMEOUT_S = 4 * 3600.0
POLL_FIRST_S, POLL_MAX_S, POLL_GROWTH = 0.1, 1.0, 1.2


class Waiting:
    """Looks at a job until it has ended, often at first; who looks, and who sleeps in between, is somebody else.

    Args:
        timeout_s: when to give up.
        on_change: called at first and whenever the job's status, stage or board changes.
    """

    def __init__(self, timeout_s: float, on_change: Callable[[Job], None]) -> None:
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._on_change = on_change
        self._last: tuple[object, ...] = ()
        self._pause_s = POLL_FIRST_S

    def look(self, job: Job) -> float | None:
        """How long to sleep before the next look; None for ever. Raises: TimedOut."""
        seen = (job.status, job.build_stage, job.fpga_id)
        if seen != self._last:
            self._last = seen
            self._on_change(job)
        if job.ended:
            return None
        if time.monotonic() > self._deadline:
            raise TimedOut(f"job {job.job_id} is still {job.status} after {self._timeout_s:g} s")
        pause_s, self._pause_s = self._pause_s, min(POLL_MAX_S, self._pause_s * POLL_GROWTH)
        return pause_s


class Client(Http):
    """Talks to one lab. Threads may share it; beside an event loop `wait_async` waits, and the rest goes into a thread.

    Args:
        api_url, api_key: the lab and your key; see `lutlab.config.resolve` for what is used if they are left out.
        timeout_s: how long the lab may take to answer once; six times that, if it says nothing at all.
        on_retry: told why, once for each request that is tried a third time, or again after `timeout_s`.
        transport: for tests.

    Raises:
        NotConfigured: no lab is known.
    """

    # -- boards ----------------------------------------------------------------------------------

    def health(self) -> Health:
        """How the lab feels."""
        return self._get("/health", Health)

    def boards(self) -> list[Board]:
        """Every board."""
        return self._get("/fpga", list[Board])

    def board(self, fpga_id: int) -> Board:
        """One board."""
        return self._get(f"/fpga/{fpga_id}", Board)

    def board_error(self, fpga_id: int) -> Failure | None:
        """Why a board takes no jobs: it is out of service, cannot be reached, or failed; None if it does take some."""
        return self._get(f"/api/v1/boards/{fpga_id}", Board).error

    def session(self, fpga_id: int) -> Session:
        """A board's session."""
        return self._get(f"/fpga/{fpga_id}/session", Session)

    def release(self, fpga_id: int) -> Submitted:
        """Give a board back; it is reset and then idle."""
        return self._post(f"/fpga/{fpga_id}/session/release", Submitted)

    def reset(self, fpga_id: int) -> Submitted:
        """Load the base design into a reserved or failed board, ending any session."""
        return self._post(f"/fpga/{fpga_id}/reset", Submitted)

    def events(self, fpga_id: int) -> list[Event]:
        """Everything that ever happened to a board, oldest first."""
        found: list[Event] = []
        after = 0
        while True:
            page = self._get(f"/api/v1/boards/{fpga_id}/events", EventPage, params={"after": after})
            found += page.events
            if not page.events:
                return found
            after = page.next_after

    # -- jobs ------------------------------------------------------------------------------------

    def submit(
        self,
        design: Design,
        *,
        fpga_id: int | None = None,
        top: str | None = None,
        sys_clk_freq: int | None = None,
        timing_target_mhz: float | None = None,
        labels: Sequence[str] = (),
        priority: int | None = None,
    ) -> Submitted:
        """Build a design and program a board with it.

        Args:
            design: the path of a `.py`, `.v`, `.sv` or project `.zip`; several paths, of which the first is the
                entrypoint; a folder with a `lutlab-project.json`; or a name and bytes.
            fpga_id: the board, which must be idle; None for the first free one once the build is done.
            top: class or module, where the file has several that fit.
            sys_clk_freq: the design's clock in Hz; None for the board's.
            timing_target_mhz: what timing is graded against; None for the clock.
            labels: labels the board must have.
            priority: higher gets a board first; above 0 only for admins.

        Raises:
            LutlabError: these files make no project.
            OSError: one cannot be read.
        """
        name, data = upload(design)
        path = "/submit" if fpga_id is None else f"/fpga/{fpga_id}/submit"
        fields: dict[str, object] = {"top": top, "sys_clk_freq": sys_clk_freq, "timing_target_mhz": timing_target_mhz}
        fields |= {"labels": ",".join(labels) or None, "priority": priority}
        form = {key: str(value) for key, value in fields.items() if value is not None}
        return self._post(path, Submitted, files={"file": (name, data)}, data=form)

    def jobs(self, status: str | None = None) -> list[Job]:
        """Your jobs, newest first."""
        return self._get("/jobs", list[Job], params={"status": status} if status else {})

    def job(self, job_id: str) -> Job:
        """One job."""
        return self._get(f"/jobs/{job_id}", Job)

    def job_detail(self, job_id: str) -> JobDetail:
        """One job with its build report."""
        return self._get(f"/api/v1/jobs/{job_id}", JobDetail)

    def logs(self, job_id: str) -> str:
        """A job's log so far."""
        return self.request("GET", f"/jobs/{job_id}/logs").text

    def cancel(self, job_id: str) -> None:
        """Call a job off."""
        self.request("DELETE", f"/jobs/{job_id}")

    def wait(
        self, job_id: str, *, timeout_s: float = JOB_TIMEOUT_S, on_change: Callable[[Job], None] = lambda _: None
    ) -> Job:
        """Wait until a job is complete.

        Args:
            on_change: called at first and whenever the job's status, stage or board changes.

        Raises:
            JobFailed: it failed or was cancelled.
            TimedOut: it has not ended in time; it goes on.
        """
        waiting = Waiting(timeout_s, on_change)
        while (pause_s := waiting.look(job := self.job(job_id))) is not None:
            time.sleep(pause_s)
        return self._completed(job)

    async def wait_async(
        self, job_id: str, *, timeout_s: float = JOB_TIMEOUT_S, on_change: Callable[[Job], None] = lambda _: None
    ) -> Job:
        """As `wait`, beside an event loop; may be cancelled at any time."""
        waiting = Waiting(timeout_s, on_change)
        while (pause_s := waiting.look(job := await asyncio.to_thread(self.job, job_id))) is not None:  # noqa: ASYNC110
            await asyncio.sleep(pause_s)
        return await asyncio.to_thread(self._completed, job)

    def _completed(self, job: Job) -> Job:
        if job.status != COMPLETE:
            raise self._failed(job)
        return job

    def _failed(self, job: Job) -> JobFailed:
        error = self.job_detail(job.job_id).error
        told = f"job {job.job_id} was {job.status}" if job.status == "cancelled" else f"job {job.job_id} failed"
        if error is not None:
            stage = f" in {error.stage}" if error.stage else ""
            told = f"job {job.job_id} {job.status}{stage} ({error.code}): {error.message}"
        return JobFailed(told, job_id=job.job_id, failure=error)

    @contextlib.contextmanager
    def running(self, job: Submitted | str, *, timeout_s: float = JOB_TIMEOUT_S) -> Iterator[BoardStream]:
        """The board that a submitted design runs on, for as long as the block lasts; then it is given back.

        ```python
        with Client() as lab, lab.running(lab.submit("design.py")) as board:
            board.write(0x0, [1, 2, 3])
        ```

        Args:
            job: what `submit` returned. Called off if the block is never reached.
            timeout_s: how long to wait for the board.

        Raises:
            JobFailed, TimedOut: see `wait`.
            StreamFailed: there is no connection to the board.
        """
        job_id = job if isinstance(job, str) else job.job_id
        try:
            fpga_id = self.wait(job_id, timeout_s=timeout_s).board
        except (JobFailed, Unreachable):
            raise
        except BaseException:
            with contextlib.suppress(LutlabError):
                self._give_up(job_id)
            raise
        try:
            with self.stream(fpga_id) as board:
                yield board
        finally:
            with contextlib.suppress(Refused):  # it is not ours any more
                self.release(fpga_id)

    def _give_up(self, job_id: str) -> None:
        """Call a build off; if it was quicker, give its board back. Raises: LutlabError."""
        try:
            self.cancel(job_id)
        except Refused:
            job = self.job(job_id)
            if job.status == COMPLETE:
                self.release(job.board)

    # -- bus -------------------------------------------------------------------------------------

    def write(
        self, fpga_id: int, address: int, words: Iterable[SupportsIndex], *, fixed_address: bool = False
    ) -> RunResult:
        """Write words from a byte address on, or all to it with `fixed_address`. Each 512 words are a run of their own.

        Args:
            words: integers from 0 to 2**32 - 1, in a list, an array, a NumPy array.

        Returns:
            What was written.

        Raises:
            Refused: `bus_error` if the design answered with one; the runs before it were carried out.
        """
        plain = checked(words)
        for start in range(0, len(plain) or 1, WORDS_MAX):
            at = address if fixed_address else address + start * WORD_BYTES
            part = plain[start : start + WORDS_MAX]
            self._run(fpga_id, {"op": OP_WRITE, "address": at, "data": part, "fixed_address": fixed_address})
        return RunResult(ok=True, data=plain)

    def read(self, fpga_id: int, address: int, count: int = 1) -> list[int]:
        """Read words from a byte address on. Each 512 words are a run of their own.

        Raises:
            Refused: `bus_error` if the design answered with one.
        """
        words: list[int] = []
        for start in range(0, max(count, 1), WORDS_MAX):
            at, part = address + start * WORD_BYTES, min(WORDS_MAX, count - start)
            words += self._run(fpga_id, {"op": OP_READ, "address": at, "data": [], "count": part}).data
        return words

    def run_batch(self, fpga_id: int, batch: Batch, *, check: bool = True) -> list[OpResult]:
        """Carry out several operations in their order, in one request and one bus round.

        Args:
            batch: 1 to 256 operations, with at most 2,048 words.
            check: raise if one of them failed; without it, look at each result's `ok`. The others ran all the same.

        Raises:
            Refused: a field breaks a rule (nothing ran), or, with `check`, the first failure of an operation.
        """
        result = self._run_once(fpga_id, {"ops": batch.ops})
        if check and result.error is not None:
            raise Refused(result.error.code, result.error.message, status=200)
        return result.ops

    def _run_once(self, fpga_id: int, body: Mapping[str, Any]) -> RunResult:
        job = self._post(f"/fpga/{fpga_id}/run", Submitted, json=body)
        if job.status not in TERMINAL:
            self.wait(job.job_id, timeout_s=TIMEOUT_S)
        return self._get(f"/jobs/{job.job_id}/result", RunResult)

    def _run(self, fpga_id: int, body: Mapping[str, Any]) -> RunResult:
        result = self._run_once(fpga_id, body)
        if not result.ok:
            error = result.error or Failure(code="bus_error", message="the design answered with a bus error")
            raise Refused(error.code, error.message, status=200)
        return result

    def stream(self, fpga_id: int) -> BoardStream:
        """A live connection to a reserved board, for many transactions. Raises: StreamFailed."""
        return BoardStream.open(self.endpoint, fpga_id)

    def bridge(self, fpga_id: int) -> BridgeWay:
        """The way to the raw TCP bridge of a board you have reserved; for `lutlab.bridge.connect_bridge`.

        Raises:
            Refused: `no_bridge`, or the board is not yours.
        """
        return self._post(f"/api/v1/boards/{fpga_id}/bridge", BridgeWay)

    # -- pins of boards without hardware ----------------------------------------------------------

    def pins(self, fpga_id: int) -> list[Pin]:
        """LEDs, buttons, switches and other pins of the running design. Raises: Refused: the board is real."""
        return self._get(f"/fpga/{fpga_id}/pins", list[Pin])

    def set_pins(self, fpga_id: int, levels: Mapping[str, int]) -> list[Pin]:
        """Press buttons and set switches of a board you have reserved, by name or pin; all pins afterwards."""
        return self.typed("PUT", f"/fpga/{fpga_id}/pins", list[Pin], json={"pins": dict(levels)})

    def signals(self, fpga_id: int) -> list[SignalShape]:
        """What `capture` can record of the running design."""
        return self._get(f"/fpga/{fpga_id}/signals", list[SignalShape])

    def capture(
        self,
        fpga_id: int,
        cycles: int,
        signals: Sequence[str] = (),
        *,
        trigger: tuple[str, int] | None = None,
        wait_s: float = 5.0,
    ) -> str:
        """Record signals of a board you have reserved, as the text of a VCD.

        Args:
            cycles: of the design's clock, 1 to 100,000.
            signals: as `signals` names them; all pins if none are given.
            trigger: start when this signal changes to this level; at once if None.
            wait_s: how long to wait for that, 30 s at most.
        """
        body: dict[str, Any] = {"cycles": cycles, "signals": list(signals), "wait_s": wait_s}
        if trigger is not None:
            body["trigger"] = {"signal": trigger[0], "level": trigger[1]}
        timeout_s = wait_s + CAPTURE_TIMEOUT_S
        return self.request("POST", f"/fpga/{fpga_id}/capture", json=body, timeout=timeout_s).text

    # -- keys ------------------------------------------------------------------------------------

    def issue_key(
        self,
        owner: str,
        *,
        role: str = "member",
        label: str = "",
        scopes: Sequence[str] | None = None,
        team: str | None = None,
        expires_at: datetime | None = None,
    ) -> IssuedKey:
        """A new API key for an owner; for admins, or for oneself.

        Args:
            scopes: what it is good for; None for everything its role allows.
            team: whose jobs its owner may read beside the own ones.
            expires_at: when it stops working, with a zone; None for never.
        """
        wish: dict[str, Any] = {"owner": owner, "role": role, "label": label, "team": team}
        wish["scopes"] = None if scopes is None else list(scopes)
        wish["expires_at"] = None if expires_at is None else expires_at.isoformat()
        return self._post("/api/v1/keys", IssuedKey, json={k: v for k, v in wish.items() if v is not None})

    def keys(self) -> list[Key]:
        """Your keys, newest first; for an admin everybody's."""
        found: list[Key] = []
        cursor: dict[str, Any] = {}
        while True:
            page = self._get("/api/v1/keys", KeyPage, params=cursor)
            found += page.keys
            if page.next_cursor is None:
                return found
            cursor = {"cursor": page.next_cursor}

    def rotate_key(self, key_id: str, *, grace_s: int = 0) -> RotatedKey:
        """Give a key (`me` for the one in use) another secret; the present one works for `grace_s` more seconds."""
        return self._post(f"/api/v1/keys/{key_id}/rotate", RotatedKey, json={"grace_s": grace_s})

    def storage(self, owner: str | None = None) -> StorageUse:
        """How much is stored for an owner, of how much may be; of others for admins and their team."""
        return self._get("/api/v1/storage", StorageUse, params={} if owner is None else {"owner": owner})

    # -- verification ----------------------------------------------------------------------------

    @property
    def verification(self) -> VerificationClient:
        """Projects, verification jobs, results and reports."""
        return VerificationClient(self)
