"""Every way programming a virtual board can fail, as one tree with stable codes.

Each error also carries the code that an ECP5 shows in bits 25..23 of its status register (Lattice FPGA-TN-02039,
"BSE Error Code"), because that is how a programmer learns of the failure.
"""

from __future__ import annotations

import enum


class BseError(enum.IntEnum):
    """Why the bitstream engine stopped: the status register's three-bit code."""

    NONE = 0
    ID = 1
    COMMAND = 2
    CRC = 3
    PREAMBLE = 4
    ABORTED = 5
    OVERFLOW = 6
    DATA_BEYOND_SRAM = 7


class VirtualBoardError(Exception):
    """Anything this package raises on purpose."""

    code = "virtual_board_error"
    bse = BseError.ABORTED


class BitstreamError(VirtualBoardError):
    """The stream of configuration commands is malformed."""

    code = "bitstream_malformed"
    bse = BseError.COMMAND


class PreambleMissing(BitstreamError):
    """The stream holds no 0xFFFFBDB3 preamble, so it is not an ECP5 bitstream."""

    code = "bitstream_preamble_missing"
    bse = BseError.PREAMBLE


class CrcMismatch(BitstreamError):
    """A CRC in the stream differs from the CRC of the bytes before it."""

    code = "bitstream_crc_mismatch"
    bse = BseError.CRC


class IdcodeMismatch(BitstreamError):
    """The stream is for another device."""

    code = "bitstream_idcode_mismatch"
    bse = BseError.ID


class FrameOverflow(BitstreamError):
    """The stream writes more frames than the device has."""

    code = "bitstream_overflow"
    bse = BseError.OVERFLOW


class UnsupportedConfiguration(VirtualBoardError):
    """The configuration uses a part of the chip that this board does not execute."""

    code = "unsupported_configuration"


class UnsupportedCell(UnsupportedConfiguration):
    """The configuration uses a cell, or a mode of a cell, that this board does not execute.

    Args:
        cell: the cell's kind and mode in the vendor's spelling.
        place: where it is on the chip.
        reason: what exactly is not supported; may be empty.
    """

    code = "unsupported_cell"

    def __init__(self, cell: str, place: str, reason: str = "") -> None:
        detail = f": {reason}" if reason else ""
        super().__init__(f"{cell} at {place} is not supported by the virtual board{detail}")
        self.cell = cell
        self.place = place


class CombinationalLoop(UnsupportedConfiguration):
    """The design's logic feeds back on itself without a register."""

    code = "combinational_loop"


class DesignRings(UnsupportedConfiguration):
    """The design clocks itself on and on: on the chip it would oscillate at a speed that nobody knows.

    Args:
        clocks: names of the clocks that do not come to rest.
    """

    code = "design_rings"

    def __init__(self, clocks: str) -> None:
        super().__init__(f"the design clocks itself without end, through {clocks}")


class NothingRuns(VirtualBoardError):
    """What was asked needs a running design, and there is none."""

    code = "nothing_runs"


class CompilerError(VirtualBoardError):
    """No C compiler could turn the design into native code."""

    code = "compiler_failed"


class DatabaseError(VirtualBoardError):
    """The chip database in the nextpnr wheel is missing or has an unknown form."""

    code = "chip_database_unusable"


class InternalError(VirtualBoardError):
    """The board's own software failed on a bitstream."""

    code = "internal_error"
