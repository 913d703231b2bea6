"""The TAP: registers, bulk shifting, what a failure and a pulled cable leave behind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lutlab_virtual_board.errors import BseError, CrcMismatch, UnsupportedCell, VirtualBoardError
from lutlab_virtual_board.jtag import Instruction, Status, Tap

IDCODE = 0x41111043


class Chip:
    """Remembers what it was told."""

    def __init__(self, error: VirtualBoardError | None = None) -> None:
        self.error = error
        self.events: list[str] = []
        self.stream = b""

    def erase(self) -> None:
        self.events.append("erase")

    def configure(self, stream: bytes) -> int:
        self.events.append("configure")
        self.stream = stream
        if self.error:
            raise self.error
        return 0xBEEF

    def start(self) -> None:
        self.events.append("start")


class Cable:
    """Drives a TAP as a programmer does, in pieces of any size."""

    def __init__(self, tap: Tap, piece: int = 10_000) -> None:
        self.tap = tap
        self.piece = piece
        self.clock([1, 1, 1, 1, 1, 0])

    def clock(self, tms: list[int], tdi: list[int] | None = None) -> list[int]:
        tdi = tdi or [0] * len(tms)
        out: list[int] = []
        for start in range(0, len(tms), self.piece):
            m, i = tms[start : start + self.piece], tdi[start : start + self.piece]
            value = self.tap.shift(len(m), pack(m), pack(i))
            out += [value >> n & 1 for n in range(len(m))]
        return out

    def instruction(self, code: int) -> None:
        bits = [code >> n & 1 for n in range(8)]
        self.clock([1, 1, 0, 0, *[0] * 7, 1, 1, 0], [0] * 4 + bits + [0, 0])

    def data(self, bits: list[int]) -> list[int]:
        count = len(bits)
        out = self.clock([1, 0, 0, *[0] * (count - 1), 1, 1, 0], [0] * 3 + bits + [0, 0])
        return out[3 : 3 + count]

    def read(self, code: int, count: int) -> int:
        self.instruction(code)
        return pack(self.data([0] * count))

    def program(self, stream: bytes) -> int:
        self.instruction(Instruction.ENABLE)
        self.instruction(Instruction.ERASE)
        self.instruction(Instruction.BITSTREAM_BURST)
        self.data([byte >> (7 - n) & 1 for byte in stream for n in range(8)])
        return self.read(Instruction.READ_STATUS, 32)


def pack(bits: list[int]) -> int:
    return sum(bit << n for n, bit in enumerate(bits))


def test_idcode_is_selected_after_reset_and_is_followed_by_what_was_shifted_in() -> None:
    cable = Cable(Tap(IDCODE, Chip()))
    out = cable.data([1, 0, 1, 1] + [0] * 32)
    assert pack(out[:32]) == IDCODE
    assert out[32:] == [1, 0, 1, 1]


def test_instruction_register_captures_one() -> None:
    cable = Cable(Tap(IDCODE, Chip()))
    out = cable.clock([1, 1, 0, 0, *[0] * 7, 1, 1, 0], [0] * 4 + [1] * 8 + [0, 0])
    assert pack(out[4:12]) == 1


def test_unknown_instruction_is_bypass() -> None:
    cable = Cable(Tap(IDCODE, Chip()))
    cable.instruction(0x5A)
    assert cable.data([1, 0, 1, 1, 0]) == [0, 1, 0, 1, 1]


@given(stream=st.binary(min_size=1, max_size=200), piece=st.integers(1, 50))
def test_a_bitstream_arrives_whole_however_the_shifts_are_cut(stream: bytes, piece: int) -> None:
    chip = Chip()
    status = Cable(Tap(IDCODE, chip), piece).program(stream)
    assert chip.stream == stream
    assert status & Status.DONE
    assert status >> 23 & 7 == BseError.NONE


def test_the_design_starts_when_configuration_is_disabled() -> None:
    chip = Chip()
    cable = Cable(Tap(IDCODE, chip))
    cable.program(b"bits")
    assert "start" not in chip.events
    cable.instruction(Instruction.DISABLE)
    assert chip.events[-1] == "start"
    assert cable.read(Instruction.USERCODE, 32) == 0xBEEF
    assert not cable.read(Instruction.READ_STATUS, 32) & Status.ISC_ENABLED


def test_programming_stops_the_running_design_first() -> None:
    chip = Chip()
    cable = Cable(Tap(IDCODE, chip))
    cable.program(b"bits")
    cable.instruction(Instruction.DISABLE)
    chip.events.clear()
    cable.instruction(Instruction.ENABLE)
    assert chip.events == ["erase"]


def test_a_refused_bitstream_shows_in_the_status_register_and_never_starts() -> None:
    for error, code in ((CrcMismatch("bad"), BseError.CRC), (UnsupportedCell("OSCG", "here"), BseError.ABORTED)):
        chip = Chip(error)
        cable = Cable(Tap(IDCODE, chip))
        status = cable.program(b"bits")
        assert not status & Status.DONE
        assert status & Status.FAILED
        assert status >> 23 & 7 == code
        cable.instruction(Instruction.DISABLE)
        assert "start" not in chip.events


def test_a_failure_is_forgotten_when_programming_begins_again() -> None:
    chip = Chip(CrcMismatch("bad"))
    cable = Cable(Tap(IDCODE, chip))
    cable.program(b"bits")
    chip.error = None
    assert cable.program(b"bits") & Status.DONE


def test_a_second_bitstream_that_is_refused_leaves_nothing_of_the_first() -> None:
    chip = Chip()
    cable = Cable(Tap(IDCODE, chip))
    cable.program(b"bits")
    chip.error = CrcMismatch("bad")
    cable.instruction(Instruction.BITSTREAM_BURST)
    cable.data([1] * 32)
    status = cable.read(Instruction.READ_STATUS, 32)
    assert status & Status.FAILED and not status & Status.DONE
    assert cable.read(Instruction.USERCODE, 32) == 0
    chip.events.clear()
    cable.instruction(Instruction.DISABLE)
    assert "start" not in chip.events


def test_a_cable_pulled_while_programming_leaves_the_chip_unconfigured() -> None:
    chip = Chip()
    tap = Tap(IDCODE, chip)
    cable = Cable(tap)
    cable.instruction(Instruction.ENABLE)
    cable.instruction(Instruction.BITSTREAM_BURST)
    cable.clock([1, 0, 0, *[0] * 64], [1] * 67)
    chip.events.clear()
    tap.disconnect()
    assert chip.events == ["erase"]
    assert not Cable(tap).read(Instruction.READ_STATUS, 32) & (Status.DONE | Status.ISC_ENABLED)


def test_a_cable_pulled_from_a_running_chip_changes_nothing() -> None:
    chip = Chip()
    tap = Tap(IDCODE, chip)
    cable = Cable(tap)
    cable.program(b"bits")
    cable.instruction(Instruction.DISABLE)
    chip.events.clear()
    tap.disconnect()
    assert chip.events == []
    assert Cable(tap).read(Instruction.READ_STATUS, 32) & Status.DONE


def test_refresh_clears_the_chip() -> None:
    chip = Chip()
    cable = Cable(Tap(IDCODE, chip))
    cable.program(b"bits")
    cable.instruction(Instruction.DISABLE)
    cable.instruction(Instruction.REFRESH)
    assert chip.events[-1] == "erase"
    assert not cable.read(Instruction.READ_STATUS, 32) & Status.DONE
