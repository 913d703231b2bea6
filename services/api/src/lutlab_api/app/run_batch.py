"""A batch of bus operations as the agent's message, and the agent's answer as what is recorded."""

from __future__ import annotations

from collections.abc import Sequence

from lutlab_api.app.leasing import bus_problem
from lutlab_api.domain.batch import BatchLimits, BatchOp, Step
from lutlab_api.domain.errors import BoardFailure, Code
from lutlab_api.domain.transaction import WORD_BYTES
from lutlab_bus import Modify, Operation, Poll, Read, Result, Status, Write, batch
from lutlab_bus.errors import MalformedRequest
from lutlab_events.busmsg import BusReply
from lutlab_events.values import BusFailure, RunStep

LIMITS = BatchLimits(
    operations_max=batch.OPERATIONS_MAX, words_max=batch.WORDS_MAX, poll_cycles_max=batch.POLL_CYCLES_MAX
)
_FAILURES = {
    Status.BUS_ERROR: (Code.BUS_ERROR, "the design answered {what} with a bus error"),
    Status.BUS_TIMEOUT: (Code.BUS_TIMEOUT, "the design did not answer {what}; does it raise ack?"),
    Status.POLL_TIMEOUT: (
        Code.POLL_TIMEOUT,
        "the value did not come within {cycles} cycles; {what} read {word:#x}",
    ),
}


def operations_of(steps: Sequence[Step]) -> list[Operation]:
    """The steps as the bus library has them."""
    return [_operation(step) for step in steps]


def _operation(step: Step) -> Operation:
    address = step.address_bytes // WORD_BYTES
    match step.op:
        case BatchOp.WRITE:
            return Write(address, step.words, step.fixed_address)
        case BatchOp.READ:
            return Read(address, step.count, step.fixed_address)
        case BatchOp.MODIFY:
            return Modify(address, step.mask, step.value)
        case BatchOp.POLL:
            return Poll(address, step.mask, step.value, step.timeout_cycles)


def outcome(
    fpga_id: int, steps: Sequence[Step], operations: Sequence[Operation], reply: BusReply
) -> tuple[tuple[RunStep, ...], BusFailure | None]:
    """Each step with what came of it, and what went wrong first.

    Raises:
        ApiError: the agent did not carry the batch out, or the link failed.
    """
    problem = bus_problem(fpga_id, reply)
    if problem is not None:
        raise problem
    try:
        results = batch.decode_results(reply.frame, operations)
    except MalformedRequest as error:
        raise BoardFailure(Code.BOARD_LINK_FAILED, f"board {fpga_id} answered nonsense: {error}") from error
    done = tuple(_done(step, result) for step, result in zip(steps, results, strict=True))
    for index, step in enumerate(done):
        if step.failure is not None:
            # Of a design's fault the job tells as of a bus error, whatever kind it is: then it counts as carried out.
            return done, BusFailure(code=Code.BUS_ERROR, message=f"ops[{index}]: {step.failure.message}")
    return done, None


def record_of(step: Step, data: tuple[int, ...] = (), failure: BusFailure | None = None) -> RunStep:
    """A step as it is recorded."""
    is_masked = step.op in (BatchOp.MODIFY, BatchOp.POLL)
    return RunStep(
        op=int(step.op),
        address_bytes=step.address_bytes,
        count=step.count,
        fixed_address=step.fixed_address,
        data=data,
        mask=step.mask if is_masked else None,
        value=step.value if is_masked else None,
        timeout_cycles=step.timeout_cycles if step.op is BatchOp.POLL else None,
        failure=failure,
    )


def _done(step: Step, result: Result) -> RunStep:
    words = tuple(result.words)
    if result.ok:
        return record_of(step, step.words if step.op is BatchOp.WRITE else words)
    code, text = _FAILURES[result.status]
    what = f"the {step.op.name.lower()} at {step.address_bytes:#x}"
    message = text.format(what=what, cycles=step.timeout_cycles, word=words[0] if words else 0)
    return record_of(step, words, BusFailure(code=code, message=message))
