"""The JTAG port of an ECP5, without any I/O: bits in, bits out.

The sixteen TAP states are those of IEEE 1149.1. Instructions and the status register are from Lattice FPGA-TN-02039,
"sysCONFIG instructions" and "Status register". Runs of bits that keep the state are shifted at once, as a bitstream is
megabits long.
"""

from __future__ import annotations

import enum
from typing import Protocol

from lutlab_virtual_board.errors import BseError, VirtualBoardError

STREAM_BYTES_MAX = 16 << 20
"""Longest bitstream that is kept: eight times that of the largest die."""

INSTRUCTION_BITS = 8


class State(enum.Enum):
    """A state of the TAP controller: the next state for TMS 0 and for TMS 1."""

    RESET = ("IDLE", "RESET")
    IDLE = ("IDLE", "SELECT_DR")
    SELECT_DR = ("CAPTURE_DR", "SELECT_IR")
    CAPTURE_DR = ("SHIFT_DR", "EXIT1_DR")
    SHIFT_DR = ("SHIFT_DR", "EXIT1_DR", "shift")
    EXIT1_DR = ("PAUSE_DR", "UPDATE_DR")
    PAUSE_DR = ("PAUSE_DR", "EXIT2_DR")
    EXIT2_DR = ("SHIFT_DR", "UPDATE_DR", "exit2")
    UPDATE_DR = ("IDLE", "SELECT_DR", "update")
    SELECT_IR = ("CAPTURE_IR", "RESET")
    CAPTURE_IR = ("SHIFT_IR", "EXIT1_IR")
    SHIFT_IR = ("SHIFT_IR", "EXIT1_IR", "shift_ir")
    EXIT1_IR = ("PAUSE_IR", "UPDATE_IR")
    PAUSE_IR = ("PAUSE_IR", "EXIT2_IR")
    EXIT2_IR = ("SHIFT_IR", "UPDATE_IR", "exit2_ir")
    UPDATE_IR = ("IDLE", "SELECT_DR", "update_ir")

    def next(self, tms: int) -> State:
        """The state after one clock."""
        return State[self.value[tms]]


class Instruction(enum.IntEnum):
    """Instructions that do something; every other one selects the bypass register."""

    ERASE = 0x0E
    DISABLE = 0x26
    READ_STATUS = 0x3C
    REFRESH = 0x79
    BITSTREAM_BURST = 0x7A
    USERCODE = 0xC0
    ENABLE = 0xC6
    IDCODE = 0xE0
    CHECK_BUSY = 0xF0
    BYPASS = 0xFF


class Status(enum.IntFlag):
    """Bits of the status register; the error code stands in bits 25..23."""

    JTAG_ACTIVE = 1 << 4
    DONE = 1 << 8
    ISC_ENABLED = 1 << 9
    WRITE_ENABLED = 1 << 10
    READ_ENABLED = 1 << 11
    FAILED = 1 << 13
    STANDARD_PREAMBLE = 1 << 21
    EXECUTION_ERROR = 1 << 26


_BSE_SHIFT = 23
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class ConfigurationPort(Protocol):
    """What the TAP does to the chip behind it."""

    def erase(self) -> None:
        """Stop the design and forget it."""

    def configure(self, stream: bytes) -> int:
        """Take a bitstream, and return its user code.

        Raises:
            VirtualBoardError: the bitstream cannot be executed.
        """

    def start(self) -> None:
        """Let the configured design run."""


class Tap:
    """One TAP controller.

    Args:
        idcode: of the chip.
        chip: that it configures.
    """

    def __init__(self, idcode: int, chip: ConfigurationPort) -> None:
        self.stuck: int | None = None
        """Level that TDO always has: a fault, or None."""
        self.power_bytes: int | None = None
        """After so many more bytes of a bitstream the power fails: a fault, or None. Zero or less: it has failed."""
        self._idcode = idcode
        self._chip = chip
        self._state = State.RESET
        self._instruction = int(Instruction.IDCODE)
        self._register = 0
        self._register_bits = 32
        self._usercode = 0
        self._enabled = False
        self._done = False
        self._bse = BseError.NONE
        self._stream: bytearray | None = None
        self._loose_bits = 0
        self._loose_count = 0

    @property
    def status(self) -> int:
        """The 32-bit status register."""
        value = int(Status.JTAG_ACTIVE)
        if self._enabled:
            value |= Status.ISC_ENABLED | Status.WRITE_ENABLED | Status.READ_ENABLED
        if self._done:
            value |= Status.DONE | Status.STANDARD_PREAMBLE
        if self._bse != BseError.NONE:
            value |= Status.FAILED | Status.EXECUTION_ERROR | self._bse << _BSE_SHIFT
        return value

    def disconnect(self) -> None:
        """The cable is pulled: a chip in the middle of being configured stays unconfigured."""
        self._state = State.RESET
        self._instruction = int(Instruction.IDCODE)
        self._stream = None
        if self._enabled:
            self._enabled = False
            self._forget()

    def shift(self, count: int, tms: int, tdi: int) -> int:
        """Clock the TAP.

        Args:
            count: clocks.
            tms: TMS of each clock, the first in the lowest bit.
            tdi: TDI of each clock likewise.

        Returns:
            TDO before each rising edge, likewise.
        """
        tdo = self._shift(count, tms, tdi)
        return tdo if self.stuck is None else self.stuck * ((1 << count) - 1)

    def _shift(self, count: int, tms: int, tdi: int) -> int:
        tdo = 0
        position = 0
        while position < count:
            rest = count - position
            here = self._state
            if here in (State.SHIFT_DR, State.SHIFT_IR):
                held = _run_of(tms >> position, 0, rest)
                bits = min(held + 1, rest)  # the clock that leaves the state still shifts
                data = tdi >> position & (1 << bits) - 1
                tdo |= self._shift_register(data, bits) << position
                position += bits
                if held < rest:
                    self._enter(here.next(1))
            elif here in (State.RESET, State.IDLE, State.PAUSE_DR, State.PAUSE_IR):
                hold = 1 if here is State.RESET else 0
                held = _run_of(tms >> position, hold, rest)
                position += held
                if held < rest:
                    position += 1
                    self._enter(here.next(1 - hold))
            else:
                self._enter(here.next(tms >> position & 1))
                position += 1
        return tdo

    # -- registers ------------------------------------------------------------------------------------------------

    def _shift_register(self, data: int, bits: int) -> int:
        """Shift bits through the selected register; what comes out, first bit lowest."""
        if self._state is State.SHIFT_DR and self._stream is not None:
            self._take_stream(data, bits)
            return 0
        combined = self._register | data << self._register_bits
        self._register = combined >> bits & (1 << self._register_bits) - 1
        return combined & (1 << bits) - 1

    def _take_stream(self, data: int, bits: int) -> None:
        """Collect bitstream bits; the first bit of each byte is its highest."""
        assert self._stream is not None
        data = data << self._loose_count | self._loose_bits
        bits += self._loose_count
        whole = bits // 8
        if len(self._stream) + whole <= STREAM_BYTES_MAX:
            self._stream += (data & (1 << 8 * whole) - 1).to_bytes(whole, "little").translate(_REVERSED)
        if self.power_bytes is not None:
            self.power_bytes -= whole
        self._loose_bits = data >> 8 * whole
        self._loose_count = bits % 8

    def _enter(self, state: State) -> None:
        self._state = state
        if state is State.RESET:
            self._end_burst()
            self._instruction = int(Instruction.IDCODE)
        elif state is State.CAPTURE_IR:
            self._register, self._register_bits = 1, INSTRUCTION_BITS
        elif state is State.UPDATE_IR:
            self._end_burst()
            self._instruction = self._register
            self._execute()
        elif state is State.CAPTURE_DR:
            self._register, self._register_bits = self._capture()

    def _capture(self) -> tuple[int, int]:
        """Value and length of the register that the instruction selects."""
        return {
            Instruction.IDCODE: (self._idcode, 32),
            Instruction.USERCODE: (self._usercode, 32),
            Instruction.READ_STATUS: (self.status, 32),
            Instruction.CHECK_BUSY: (0, 8),
            Instruction.ENABLE: (0, 8),
            Instruction.ERASE: (0, 8),
        }.get(Instruction(self._instruction) if self._instruction in _KNOWN else Instruction.BYPASS, (0, 1))

    # -- instructions -----------------------------------------------------------------------------------------------

    def _execute(self) -> None:
        if self._instruction == Instruction.ENABLE:
            self._enabled = True
            self._bse = BseError.NONE
            self._forget()
        elif self._instruction == Instruction.ERASE and self._enabled:
            self._bse = BseError.NONE
            self._forget()
        elif self._instruction == Instruction.REFRESH:
            # The chip restarts from its flash, which a virtual board does not have.
            self._enabled = False
            self._bse = BseError.NONE
            self._forget()
        elif self._instruction == Instruction.BITSTREAM_BURST and self._enabled:
            self._stream = bytearray()
            self._loose_bits = self._loose_count = 0
        elif self._instruction == Instruction.DISABLE and self._enabled:
            self._enabled = False
            if self._done:
                self._chip.start()

    def _forget(self) -> None:
        self._done = False
        self._usercode = 0
        self._chip.erase()

    def _end_burst(self) -> None:
        """The bitstream is complete once another instruction follows."""
        if self._stream is None:
            return
        stream, self._stream = bytes(self._stream), None
        # Whatever was configured before goes, also where this fails.
        self._done, self._usercode = False, 0
        try:
            self._usercode = self._chip.configure(stream)
        except VirtualBoardError as error:
            self._bse = error.bse
        else:
            self._done = True


_KNOWN = frozenset(int(instruction) for instruction in Instruction)


def _run_of(bits: int, value: int, most: int) -> int:
    """How many of the lowest bits equal `value` before the first that does not; at most `most`."""
    if value:
        bits = ~bits
    bits &= (1 << most) - 1
    return (bits & -bits).bit_length() - 1 if bits else most
