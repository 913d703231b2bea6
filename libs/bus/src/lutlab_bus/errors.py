"""What can go wrong between a host and a board, as one tree with stable codes.

A fault of the *bus* (a target that answers `err` or not at all) is not an exception: it is a `Status` in a `Result`,
because the other operations of the same call still have their results.
"""

from __future__ import annotations


class BusFault(Exception):
    """Anything this package raises. After any of them the next `execute` resynchronises first."""

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
