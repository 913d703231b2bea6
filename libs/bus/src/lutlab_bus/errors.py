"""What can go wrong between a host and a board, as one tree with stable codes.

A fault of the *design* (a target that answers `err` or not at all) is a `Status` in a `Result` where a call has several
operations, because the others still have their results. `Result.check` and the one-word calls raise it as a
`DesignFault`.
"""

from __future__ import annotations


class BusFault(Exception):
    """Anything this package raises."""

    code = "bus_fault"


class InvalidOperation(BusFault):
    """An operation that cannot be put on the wire; nothing was sent."""

    code = "invalid_operation"


class LinkLost(BusFault):
    """The serial port ended or failed: unplugged adapter, closed pseudo-terminal."""

    code = "link_lost"


class LinkTimeout(BusFault):
    """The board did not answer in time. Operations may or may not have run."""

    code = "link_timeout"


class ProtocolFault(BusFault):
    """A reply with a bad CRC, the wrong tag or an unknown status. Operations may or may not have run."""

    code = "protocol_fault"


class ProtocolMismatch(BusFault):
    """Something answers, but it does not speak this version of the protocol."""

    code = "protocol_mismatch"


class MalformedRequest(BusFault):
    """A binary stream message that breaks the contract; the answer to it is `stream.ERROR_REPLY`."""

    code = "malformed_request"


class DesignFault(BusFault):
    """The link works; the design refused or did not answer. Nothing has to be resynchronised."""

    code = "design_fault"


class DesignBusError(DesignFault):
    """The design answered `err`, or the address is beyond the width of its `wb_adr`."""

    code = "bus_error"


class DesignTimeout(DesignFault):
    """The design did not answer within the bus timeout that was built into the bitstream."""

    code = "bus_timeout"


class PollTimeout(DesignFault):
    """The value that a `Poll` waited for did not come in time."""

    code = "poll_timeout"


_DESIGN_FAULTS: dict[int, tuple[type[DesignFault], str]] = {
    1: (DesignBusError, "the design answered err, or has no such word"),
    2: (DesignTimeout, "the design did not answer within its bus timeout; does it raise ack?"),
    3: (PollTimeout, "the value did not come in time"),
}


def design_fault(status: int, address_words: int | None = None) -> BusFault:
    """The exception for a status that is not OK; a `ProtocolFault` if the status is unknown."""
    where = "" if address_words is None else f"word {address_words:#x}: "
    if status not in _DESIGN_FAULTS:
        return ProtocolFault(f"{where}a reply has the unknown status {status}")
    kind, what = _DESIGN_FAULTS[status]
    return kind(where + what)
