"""Words to and from a board: operations, the serial framer without I/O, a link over a byte stream, public messages."""

from lutlab_bus.errors import (
    BusFault,
    InvalidOperation,
    LinkLost,
    LinkTimeout,
    MalformedRequest,
    ProtocolFault,
    ProtocolMismatch,
)
from lutlab_bus.hello import BoardInfo
from lutlab_bus.link import BusLink, LinkCounters, SerialPort, StreamPort
from lutlab_bus.operations import Operation, Read, Result, Status, Words, Write

__all__ = [
    "BoardInfo",
    "BusFault",
    "BusLink",
    "InvalidOperation",
    "LinkCounters",
    "LinkLost",
    "LinkTimeout",
    "MalformedRequest",
    "Operation",
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
