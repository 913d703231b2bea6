"""Parse the stream of configuration commands that a programmer sends, checking every CRC in it.

A stream is an optional header, the preamble 0xFFFFBDB3 and a list of commands: an opcode, three bytes of arguments,
and data. Frames arrive last frame first, plain or compressed. Source: Lattice FPGA-TN-02039, "Bitstream format".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import msgspec

from lutlab_virtual_board import bulk
from lutlab_virtual_board.crc import crc16
from lutlab_virtual_board.decompress import Decompressor, decompressor
from lutlab_virtual_board.device import BRAM_WORDS, DeviceGeometry
from lutlab_virtual_board.errors import (
    BitstreamError,
    CrcMismatch,
    FrameOverflow,
    IdcodeMismatch,
    PreambleMissing,
)

PREAMBLE = b"\xff\xff\xbd\xb3"
BRAM_COUNT_MAX = 1024
"""Block RAMs that a ten-bit address can name."""

_BRAM_WORDS_TOGETHER = 8
"""Nine-bit words in nine bytes."""

_DUMMY = 0xFF
_CHECK_CRC = 0x80
_CRC_AT_END = 0x40
_DUMMY_BYTES = 0x0F


class Bitstream(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that has been read completely and whose CRCs are right.

    Attributes:
        idcode: the device it is for.
        usercode: the 32-bit user code.
        frames: one integer a frame, first frame first; bit n is configuration bit n of the frame.
        brams: initial contents by block RAM address: 2048 words of nine bits.
    """

    idcode: int
    usercode: int
    frames: list[int]
    brams: dict[int, list[int]]


def parse(stream: bytes, device: DeviceGeometry) -> Bitstream:
    """Read a whole stream as the chip's configuration logic does.

    Args:
        stream: the bytes as they were shifted in, header included or not.
        device: the chip they were shifted into.

    Raises:
        PreambleMissing: there is no preamble.
        IdcodeMismatch: the stream verifies another IDCODE.
        CrcMismatch: a CRC is wrong.
        FrameOverflow: there are too many frames.
        BitstreamError: a command is unknown, cut short, or the stream ends before "program DONE".
    """
    return _Parser(stream, device).run()


class _Parser:
    """Position and running CRC of one pass over a stream."""

    def __init__(self, stream: bytes, device: DeviceGeometry) -> None:
        start = stream.find(PREAMBLE)
        if start < 0:
            raise PreambleMissing("no preamble FFFFBDB3 in the stream: this is not an ECP5 bitstream")
        self.data = stream
        self.at = start + len(PREAMBLE)
        self.crc = 0
        self.device = device
        self.idcode: int | None = None
        self.usercode = 0
        self.frames: list[int] | None = None
        self.brams: dict[int, list[int]] = {}
        self.bram_at = (0, 0)
        self.decompressor: Decompressor | None = None
        self.dictionary = b""
        self.done = False

    def run(self) -> Bitstream:
        """Execute commands until "program DONE"."""
        while not self.done and self.at < len(self.data):
            opcode = self.data[self.at]
            if opcode == _DUMMY:
                self.at += 1
                continue
            command = _COMMANDS.get(opcode)
            if command is None:
                self.fail(f"unknown command {opcode:#04x}")
            self.take(1)
            command(self)
        if not self.done:
            raise BitstreamError("the stream ended before ISC_PROGRAM_DONE: it is cut short")
        if self.idcode is None:
            raise BitstreamError("the stream has no VERIFY_ID command")
        if self.frames is None:
            raise BitstreamError("the stream has no configuration frames")
        return Bitstream(idcode=self.idcode, usercode=self.usercode, frames=self.frames, brams=self.brams)

    def fail(self, what: str) -> NoReturn:
        raise BitstreamError(f"{what} at byte {self.at} of the stream")

    def take(self, count: int) -> bytes:
        """The next `count` bytes, which enter the CRC."""
        piece = self.data[self.at : self.at + count]
        if len(piece) < count:
            self.fail(f"the stream is cut short: {count - len(piece)} bytes missing")
        self.at += count
        self.crc = crc16(piece, self.crc)
        return piece

    def check_crc(self, what: str) -> None:
        """Compare the next two bytes with the running CRC, and start a new one."""
        computed = self.crc
        stored = int.from_bytes(self.take(2))
        self.crc = 0
        if stored != computed:
            raise CrcMismatch(
                f"CRC of {what} is {computed:#06x} but the stream says {stored:#06x} at byte {self.at - 2}: "
                "the bitstream is damaged"
            )

    # -- commands -------------------------------------------------------------------------------------------------

    def skip_arguments(self) -> None:
        self.take(3)

    def skip_word(self) -> None:
        self.take(7)

    def reset_crc(self) -> None:
        self.take(3)
        self.crc = 0

    def verify_id(self) -> None:
        self.take(3)
        self.idcode = int.from_bytes(self.take(4))
        if self.idcode != self.device.idcode:
            raise IdcodeMismatch(
                f"the bitstream is for IDCODE {self.idcode:#010x}, this chip is {self.device.name} with IDCODE "
                f"{self.device.idcode:#010x}"
            )

    def write_usercode(self) -> None:
        flags = self.take(3)[0]
        self.usercode = int.from_bytes(self.take(4))
        if flags & _CHECK_CRC:
            self.check_crc("the user code")

    def write_dictionary(self) -> None:
        flags = self.take(3)[0]
        self.dictionary = self.take(8)
        self.decompressor = decompressor(self.dictionary)
        if flags & _CHECK_CRC:
            self.check_crc("the compression dictionary")

    def write_frames(self) -> None:
        size = self.device.frame_bytes
        self.write_any_frames(lambda at: (self.data[at : at + size], size))

    def write_compressed_frames(self) -> None:
        expand = self.decompressor
        if expand is None:
            self.fail("compressed frames before a compression dictionary")
        padded = (self.device.frame_bytes + 7) // 8 * 8
        self.write_any_frames(lambda at: expand.frame(self.data, at, padded), compressed=True)

    def write_any_frames(self, read: Callable[[int], tuple[bytes, int]], compressed: bool = False) -> None:
        """Read the frames of one command; they arrive last frame first.

        Args:
            read: gives the frame at a position of the stream, and how many bytes of the stream it takes.
            compressed: they are.
        """
        if self.idcode is None:
            self.fail("configuration frames before VERIFY_ID")
        if self.frames is not None:
            # Each pass takes as long as a whole bitstream, and a stream has room for a hundred.
            raise FrameOverflow("the stream writes configuration frames more than once")
        flags, high, low = self.take(3)
        count = high << 8 | low
        device = self.device
        if count > device.frames:
            raise FrameOverflow(f"{count} frames in the stream, {device.name} has {device.frames}")
        every = bool(flags & _CHECK_CRC) and not flags & _CRC_AT_END
        shift, mask = device.pad_after_bits, (1 << device.frame_bits) - 1
        frames, dummies = [0] * device.frames, flags & _DUMMY_BYTES
        ready = self.read_in_bulk(count, dummies) if compressed and every else []
        for number, frame in enumerate(ready):
            frames[device.frames - 1 - number] = int.from_bytes(frame) >> shift & mask
        for number in range(len(ready), count):
            frame, length = read(self.at)
            self.take(length)
            frames[device.frames - 1 - number] = int.from_bytes(frame) >> shift & mask
            if every:
                stored = self.data[self.at : self.at + 2]
                if len(stored) < 2 or int.from_bytes(stored) != self.crc:
                    self.check_crc(f"frame {device.frames - 1 - number}")
                self.at += 2
                self.crc = 0
            elif flags & _CHECK_CRC and number == count - 1:
                self.check_crc("the configuration frames")
            if dummies:
                self.take(dummies)
        self.frames = frames

    def read_in_bulk(self, count: int, dummies: int) -> list[bytes]:
        """Compressed frames up to the first one that is damaged; none where there is no compiler."""
        lib = bulk.library()
        if lib is None:
            return []
        form = bulk.Compressed(self.dictionary, (self.device.frame_bytes + 7) // 8 * 8, dummies)
        found = bulk.frames(lib, self.data, (self.at, self.crc), form, count)
        self.at, self.crc = found.at, found.crc
        return found.frames

    def set_bram_address(self) -> None:
        self.take(3)
        address = int.from_bytes(self.take(4))
        if address % _BRAM_WORDS_TOGETHER:
            self.fail(f"block RAM address {address:#x} is no multiple of {_BRAM_WORDS_TOGETHER}")
        self.bram_at = (address >> 11 & 0x3FF, address & 0x7FF)

    def write_bram(self) -> None:
        """Nine bytes carry eight nine-bit words; the address runs on into the next block RAM."""
        flags, high, low = self.take(3)
        block, word = self.bram_at
        for _ in range(high << 8 | low):
            packed = int.from_bytes(self.take(9))
            if word >= BRAM_WORDS:
                block, word = block + 1, 0
            if block >= BRAM_COUNT_MAX:
                self.fail(f"block RAM {block} does not exist")
            words = self.brams.setdefault(block, [0] * BRAM_WORDS)
            lanes = range(_BRAM_WORDS_TOGETHER)
            words[word : word + len(lanes)] = [packed >> (63 - 9 * lane) & 0x1FF for lane in lanes]
            word += len(lanes)
        self.bram_at = (block, word)
        if flags & _CHECK_CRC:
            self.check_crc(f"block RAM {block}")

    def program_done(self) -> None:
        if self.take(3)[0] & _CHECK_CRC:
            self.check_crc("the DONE command")
        self.done = True

    def refuse(self) -> None:
        self.fail(f"command {self.data[self.at - 1]:#04x} (partial reconfiguration) is not supported")


_COMMANDS: dict[int, Callable[[_Parser], None]] = {
    0x3B: _Parser.reset_crc,
    0xE2: _Parser.verify_id,
    0x22: _Parser.skip_word,  # LSC_PROG_CNTRL0: clock source, persistence
    0x23: _Parser.skip_word,  # LSC_PROG_CNTRL1
    0xA2: _Parser.skip_word,  # LSC_PROG_SED_CRC
    0x79: _Parser.skip_arguments,  # SPI read mode of the boot flash
    0xC2: _Parser.write_usercode,
    0x46: _Parser.skip_arguments,  # LSC_INIT_ADDRESS
    0x02: _Parser.write_dictionary,
    0x82: _Parser.write_frames,
    0xB8: _Parser.write_compressed_frames,
    0xF6: _Parser.set_bram_address,
    0xB2: _Parser.write_bram,
    0xCE: _Parser.skip_arguments,  # ISC_PROGRAM_SECURITY: read-back is refused anyway
    0x5E: _Parser.program_done,
    0xB4: _Parser.refuse,  # LSC_WRITE_ADDRESS
}
