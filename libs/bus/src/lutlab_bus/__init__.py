"""Words to and from a board: operations, the protocol engine without I/O, links over a byte stream, public messages."""

from lutlab_bus.board_info import BoardInfo
from lutlab_bus.counters import LinkCounters
from lutlab_bus.errors import (
    BusFault,
    DesignBusError,
    DesignFault,
    DesignTimeout,
    InvalidOperation,
    LinkLost,
    LinkTimeout,
    MalformedRequest,
    PollTimeout,
    ProtocolFault,
    ProtocolMismatch,
)
from lutlab_bus.link import BusLink, SerialPort, StreamPort
from lutlab_bus.operations import Modify, Operation, Poll, Read, Result, Status, Words, Write

__all__ = [
    "BoardInfo",
    "BusFault",
    "BusLink",
    "DesignBusError",
    "DesignFault",
    "DesignTimeout",
    "InvalidOperation",
    "LinkCounters",
    "LinkLost",
    "LinkTimeout",
    "MalformedRequest",
    "Modify",
    "Operation",
    "Poll",
    "PollTimeout",
    "ProtocolFault",
    "ProtocolMismatch",
    "Read",
    "Result",
    "SerialPort",
    "Status",
    "StreamPort",
    "Words",
    "Write",
]
