"""Submitting designs, and what else is asked of jobs and boards by command."""

from __future__ import annotations

from uuid import UUID

from lutlab_api.app.asking import Accepted, Asking, Request, accepted, job_id_of, require_accepted, require_same
from lutlab_api.app.auth import require_admin
from lutlab_api.app.leasing import NOBODY
from lutlab_api.app.ports import Blobs
from lutlab_api.app.reads import Reads, parse_job_id
from lutlab_api.app.storage import Storage
from lutlab_api.domain.upload import Upload
from lutlab_events.commands import (
    CancelJob,
    ForgetBoard,
    ReleaseSession,
    ResetBoard,
    ReturnBoard,
    SubmitBuild,
    WithdrawBoard,
)
from lutlab_events.ids import digest


class Control:
    """Everything that changes a job or a board, decided by the scheduler."""

    def __init__(self, asking: Asking, blobs: Blobs, reads: Reads, storage: Storage) -> None:
        self._asking = asking
        self._blobs = blobs
        self._reads = reads
        self._storage = storage

    async def submit(self, request: Request, upload: Upload, fpga_id: int | None = None) -> Accepted:
        """Store the upload, then ask for its build; on board `fpga_id` in the older generation.

        Raises:
            Refused: e.g. `fpga_not_idle`, `unknown_profile`, `queue_full`, `storage_full`.
            TooMany: `storage_full`, before anything was stored.
            Unavailable: nobody answered.
        """
        command_id = self._asking.command_id(request)
        options = (upload.top, upload.sys_clk_hz, upload.timing_target_mhz, upload.profile)
        source = digest(upload.data)
        # Left out where they say nothing, so that keys that were used before they existed still fit.
        wishes = (upload.labels, upload.priority) if upload.labels or upload.priority else ()
        fingerprint = request.fingerprint(source, upload.filename, *options, fpga_id, *wishes)
        await self._storage.check(request.caller.owner, {source: len(upload.data)}, command_id, at_least=1)
        await self._blobs.put(upload.data)
        body = SubmitBuild(
            job_id=job_id_of(command_id),
            owner=request.caller.owner,
            source_digest=source,
            source_bytes=len(upload.data),
            filename=upload.filename,
            top=upload.top,
            sys_clk_hz=upload.sys_clk_hz,
            timing_target_mhz=upload.timing_target_mhz,
            fpga_id=fpga_id,
            profile=upload.profile,
            labels=upload.labels,
            priority=upload.priority,
        )
        answer = await self._asking.ask(body, request, command_id=command_id, fingerprint=fingerprint)
        self._storage.accepted(request.caller.owner, [source])
        return accepted(answer.data, body.job_id, fpga_id)

    async def cancel(self, request: Request, job_text: str, fpga_id: int | None = None) -> None:
        """Stop a job. Raises: Missing, Refused (`job_not_cancellable`, `not_your_job`), Unavailable."""
        job_id = parse_job_id(job_text)
        if fpga_id is not None:
            await self._reads.job(job_text, request.caller, fpga_id)
        caller = request.caller
        body = CancelJob(job_id=job_id, owner=caller.owner, is_admin=caller.is_admin, fpga_id=fpga_id)
        command_id = self._asking.command_id(request)
        await self._asking.ask(body, request, command_id=command_id, fingerprint=request.fingerprint(job_text, fpga_id))

    async def reset(self, request: Request, fpga_id: int) -> Accepted:
        """Load the base design. Raises: Refused (`fpga_not_resettable`, `not_your_session`), Unavailable."""
        command_id = self._asking.command_id(request)
        caller = request.caller
        body = ResetBoard(
            job_id=job_id_of(command_id),
            owner=caller.owner,
            fpga_id=fpga_id,
            is_admin=caller.is_admin,
            session_id=await self._session_on(fpga_id),
        )
        answer = await self._asking.ask(body, request, command_id=command_id, fingerprint=request.fingerprint(fpga_id))
        return accepted(answer.data, body.job_id, fpga_id)

    async def withdraw(self, request: Request, fpga_id: int, reason: str, *, kick: bool) -> None:
        """Give a board no new jobs, and with `kick` end its session; for admins.

        Raises: NotAllowed, Refused (`fpga_not_found`, `nothing_to_do`), Unavailable.
        """
        require_admin(request.caller)
        body = WithdrawBoard(fpga_id=fpga_id, owner=request.caller.owner, reason=reason, kick=kick)
        command_id = self._asking.command_id(request)
        fingerprint = request.fingerprint(fpga_id, reason, kick)
        await self._asking.ask(body, request, command_id=command_id, fingerprint=fingerprint)

    async def forget(self, request: Request, fpga_id: int) -> None:
        """Take a board that is gone off the list; for admins.

        Raises: NotAllowed, Refused (`fpga_not_found`, `board_in_use`, `nothing_to_do`), Unavailable.
        """
        require_admin(request.caller)
        body = ForgetBoard(fpga_id=fpga_id, owner=request.caller.owner)
        command_id = self._asking.command_id(request)
        await self._asking.ask(body, request, command_id=command_id, fingerprint=request.fingerprint(fpga_id))

    async def put_back(self, request: Request, fpga_id: int, reason: str) -> None:
        """Give a board jobs again; for admins. Raises: as `withdraw`."""
        require_admin(request.caller)
        body = ReturnBoard(fpga_id=fpga_id, owner=request.caller.owner, reason=reason)
        command_id = self._asking.command_id(request)
        await self._asking.ask(body, request, command_id=command_id, fingerprint=request.fingerprint(fpga_id, reason))

    async def release(self, request: Request, fpga_id: int) -> Accepted:
        """Give a board back. Raises: Refused (`no_active_session`, `not_your_session`), Unavailable."""
        return await self._release(request, fpga_id, await self._session_on(fpga_id))

    async def end_session(self, request: Request, session_id: UUID) -> Accepted:
        """Give back the board that a session is on. Raises: Missing, Refused as `release`, Unavailable."""
        before = await self._ended_before(request)
        if before is not None:
            return before
        session = await self._reads.session_by_id(session_id)
        return await self._release(request, session.fpga_id, session_id)

    async def _ended_before(self, request: Request) -> Accepted | None:
        """The answer to an earlier request with the same Idempotency-Key; its session cannot be looked up any more."""
        if request.idempotency_key is None:
            return None
        command_id = self._asking.command_id(request)
        stored = await self._reads.answer(command_id)
        if stored is None or "fpga_id" not in stored.data:
            return None
        require_same(stored.fingerprint, request.fingerprint(stored.data["fpga_id"]))
        require_accepted(stored.code, stored.message)
        return accepted(stored.data, job_id_of(command_id), None)

    async def _release(self, request: Request, fpga_id: int, session_id: UUID) -> Accepted:
        command_id = self._asking.command_id(request)
        caller = request.caller
        body = ReleaseSession(
            job_id=job_id_of(command_id),
            owner=caller.owner,
            fpga_id=fpga_id,
            is_admin=caller.is_admin,
            session_id=session_id,
        )
        answer = await self._asking.ask(body, request, command_id=command_id, fingerprint=request.fingerprint(fpga_id))
        return accepted(answer.data, body.job_id, fpga_id)

    async def _session_on(self, fpga_id: int) -> UUID:
        """The session that a board has now, so that a later one is not meant; `NOBODY` where it has none."""
        session = await self._reads.session_on(fpga_id)
        return NOBODY if session is None else session.session_id
