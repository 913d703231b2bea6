"""`POST /fpga/{id}/run`: one transaction on the board, then one job that records it, finished before the answer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from lutlab_api.app.asking import Accepted, Asking, Request, job_id_of, require_accepted, require_same
from lutlab_api.app.leasing import bus_problem, lease_of
from lutlab_api.app.ports import Bus, Clock, Ledger
from lutlab_api.app.reads import Reads
from lutlab_api.app.run_batch import LIMITS, operations_of, outcome, record_of
from lutlab_api.domain.batch import StepRequest, check_batch
from lutlab_api.domain.errors import BoardFailure, Code, Conflict, Unavailable
from lutlab_api.domain.transaction import WORD_BYTES, Op, Transaction, check_transaction
from lutlab_api.domain.views import BoardView, Failure
from lutlab_bus import batch
from lutlab_bus.errors import MalformedRequest
from lutlab_bus.operations import Read, Write
from lutlab_bus.stream import WORDS_MAX, decode_reply, encode_request
from lutlab_events.busmsg import BusHeaders, BusReply, BusVerb, Lease
from lutlab_events.commands import RecordRun
from lutlab_events.values import BusFailure

UNRECORDED_MAX = 1024
"""Outcomes kept for a repetition whose recording was not answered."""
NOT_RUN = frozenset({Code.BOARD_UNREACHABLE})
"""Failures after which it is certain that nothing ran; they leave no job."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """The fields of a run request, unchecked; see `check_transaction`."""

    op: int
    address: int
    data: Sequence[int] = ()
    count: int | None = None
    fixed_address: bool = False


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """The operations of a run request with `ops`, unchecked; see `check_batch`."""

    ops: tuple[StepRequest, ...]


class Run:
    """Carries out transactions and batches of them."""

    def __init__(
        self,
        *,
        asking: Asking,
        ledger: Ledger,
        reads: Reads,
        bus: Bus,
        clock: Clock,
        timeout_s: float,
    ) -> None:
        self._asking = asking
        self._ledger = ledger
        self._reads = reads
        self._bus = bus
        self._clock = clock
        self._timeout_s = timeout_s
        self._unrecorded: OrderedDict[UUID, tuple[str, RecordRun]] = OrderedDict()
        self._under_way: set[UUID] = set()

    async def run(self, request: Request, fpga_id: int, asked: RunRequest | BatchRequest) -> Accepted:
        """Carry out a transaction, or a batch in one bus round, and record it as one job.

        Raises:
            Invalid: it does not fit the board.
            Conflict, NotAllowed, Missing: the board is not the caller's, or not there.
            BoardFailure: the way to the board failed; recorded as a failed job unless it certainly did not run.
            Unavailable: it ran, but the scheduler did not confirm recording it.
        """
        command_id = self._asking.command_id(request)
        fingerprint = _fingerprint(request, fpga_id, asked)
        if command_id in self._under_way:
            raise Conflict(Code.REQUEST_IN_PROGRESS, "a request with this Idempotency-Key is still being worked on")
        self._under_way.add(command_id)
        try:
            if request.idempotency_key is not None:
                before = await self._done_before(command_id, fingerprint, fpga_id)
                if before is not None:
                    return before
            return await self._run_once(request, fpga_id, asked, command_id, fingerprint)
        finally:
            self._under_way.discard(command_id)

    async def _done_before(self, command_id: UUID, fingerprint: str, fpga_id: int) -> Accepted | None:
        """The answer of an earlier request with the same Idempotency-Key, if it was recorded."""
        stored = await self._ledger.answer(command_id)
        if stored is None:
            return None
        require_same(stored.fingerprint, fingerprint)
        require_accepted(stored.code, stored.message)
        job = await self._ledger.job(job_id_of(command_id))
        failure = None if job is None or job.failure is None else job.failure
        return _told(job_id_of(command_id), fpga_id, failure)

    async def _run_once(
        self, request: Request, fpga_id: int, asked: RunRequest | BatchRequest, command_id: UUID, fingerprint: str
    ) -> Accepted:
        before = self._unrecorded.get(command_id)
        if before is not None:
            require_same(before[0], fingerprint)
            record = before[1]
        else:
            board = await self._reads.board(fpga_id)
            lease = lease_of(board, request.caller, self._clock.now())
            record = await self._attempt(request, board, lease, asked, command_id)
        await self._record(request, record, command_id, fingerprint)
        failure = record.failure
        told = None if failure is None else Failure(code=failure.code, message=failure.message)
        return _told(record.job_id, fpga_id, told)

    async def _attempt(
        self, request: Request, board: BoardView, lease: Lease, asked: RunRequest | BatchRequest, command_id: UUID
    ) -> RecordRun:
        if isinstance(asked, BatchRequest):
            return await self._carry_out_batch(request, board, lease, asked, command_id)
        transaction = check_transaction(
            op=asked.op,
            address=asked.address,
            data=asked.data,
            count=asked.count,
            fixed_address=asked.fixed_address,
            address_words=board.address_words,
            words_max=WORDS_MAX,
        )
        return await self._carry_out(request, board, lease, transaction, command_id)

    async def _carry_out(
        self, request: Request, board: BoardView, lease: Lease, transaction: Transaction, command_id: UUID
    ) -> RecordRun:
        headers = BusHeaders(verb=BusVerb.EXCHANGE, lease=lease, request_id=_name(request, command_id))
        words: tuple[int, ...] = ()
        failure: BusFailure | None = None
        try:
            reply = await self._bus.request(board.agent_id, headers, _frame(transaction), self._timeout_s)
            words, failure = _outcome(board.fpga_id, transaction, reply)
        except BoardFailure as error:
            if error.code in NOT_RUN:
                raise
            failure = BusFailure(code=error.code, message=error.message)
        return RecordRun(
            job_id=job_id_of(command_id),
            owner=request.caller.owner,
            is_admin=request.caller.is_admin,
            fpga_id=board.fpga_id,
            session_id=lease.session_id,
            op=int(transaction.op),
            address_bytes=transaction.address_bytes,
            count=transaction.count,
            fixed_address=transaction.fixed_address,
            data=words,
            failure=failure,
        )

    async def _carry_out_batch(
        self, request: Request, board: BoardView, lease: Lease, asked: BatchRequest, command_id: UUID
    ) -> RecordRun:
        steps = check_batch(asked.ops, address_words=board.address_words, limits=LIMITS)
        operations = operations_of(steps)
        failure: BusFailure | None
        try:
            headers = BusHeaders(verb=BusVerb.BATCH, lease=lease, request_id=_name(request, command_id))
            reply = await self._bus.request(board.agent_id, headers, batch.encode(operations), self._timeout_s)
            done, failure = outcome(board.fpga_id, steps, operations, reply)
        except BoardFailure as error:
            if error.code in NOT_RUN:
                raise
            failure = BusFailure(code=error.code, message=error.message)
            done = tuple(record_of(step, failure=failure) for step in steps)
        return RecordRun(
            job_id=job_id_of(command_id),
            owner=request.caller.owner,
            is_admin=request.caller.is_admin,
            fpga_id=board.fpga_id,
            session_id=lease.session_id,
            op=0,
            address_bytes=steps[0].address_bytes,
            count=sum(step.count for step in steps),
            fixed_address=False,
            failure=failure,
            ops=done,
        )

    async def _record(self, request: Request, record: RecordRun, command_id: UUID, fingerprint: str) -> None:
        try:
            await self._asking.ask(record, request, command_id=command_id, fingerprint=fingerprint)
        except Unavailable as error:
            if request.idempotency_key is not None:
                self._remember(command_id, fingerprint, record)
            raise Unavailable(
                f"the transaction was carried out on the board, but recording it was not confirmed: {error.message}",
                job_id=record.job_id,
            ) from error
        self._unrecorded.pop(command_id, None)

    def _remember(self, command_id: UUID, fingerprint: str, record: RecordRun) -> None:
        self._unrecorded[command_id] = (fingerprint, record)
        if len(self._unrecorded) > UNRECORDED_MAX:
            self._unrecorded.popitem(last=False)


def _name(request: Request, command_id: UUID) -> str:
    """What the agent knows a repetition by, which may come through another API process."""
    return command_id.hex if request.idempotency_key is not None else ""


def _fingerprint(request: Request, fpga_id: int, asked: RunRequest | BatchRequest) -> str:
    if isinstance(asked, BatchRequest):
        return request.fingerprint(fpga_id, asked.ops)
    return request.fingerprint(fpga_id, asked.op, asked.address, asked.data, asked.count, asked.fixed_address)


def _frame(transaction: Transaction) -> bytes:
    """The transaction as one message of the public stream format."""
    address_words = transaction.address_bytes // WORD_BYTES
    if transaction.op is Op.READ:
        return encode_request(Read(address_words, transaction.count))
    return encode_request(Write(address_words, transaction.words, transaction.fixed_address))


def _outcome(fpga_id: int, transaction: Transaction, reply: BusReply) -> tuple[tuple[int, ...], BusFailure | None]:
    """The words transferred and what went wrong.

    Raises:
        ApiError: the agent did not carry it out, or the link failed.
    """
    problem = bus_problem(fpga_id, reply)
    if problem is not None:
        raise problem
    try:
        read = decode_reply(reply.frame)
    except MalformedRequest as error:
        raise BoardFailure(Code.BOARD_LINK_FAILED, f"board {fpga_id} answered nonsense: {error}") from error
    if read is None:
        what = f"{transaction.op.name.lower()} of {transaction.count} words at {transaction.address_bytes:#x}"
        why = f": {reply.message}" if reply.message else ""
        return (), BusFailure(code=Code.BUS_ERROR, message=f"the design answered the {what} with a bus error{why}")
    return tuple(read) if transaction.op is Op.READ else transaction.words, None


def _told(job_id: UUID, fpga_id: int, failure: Failure | None) -> Accepted:
    """What the caller hears: 202 for whatever the design answered, an error if the way to it failed."""
    if failure is not None and failure.code != Code.BUS_ERROR:
        raise BoardFailure(failure.code, failure.message, job_id=job_id)
    return Accepted(job_id=job_id, fpga_id=fpga_id, status="complete")
