"""Bitstreams of a toy device: every CRC counts, plain and compressed frames are alike."""

from __future__ import annotations

import functools
import random

import pytest

from lutlab_virtual_board.bitstream import PREAMBLE, Bitstream, parse
from lutlab_virtual_board.crc import crc16
from lutlab_virtual_board.device import DeviceGeometry
from lutlab_virtual_board.errors import (
    BitstreamError,
    CrcMismatch,
    FrameOverflow,
    IdcodeMismatch,
    PreambleMissing,
)

TOY = DeviceGeometry(name="TOY", idcode=0x12345043, frames=5, frame_bits=46, pad_after_bits=1, pad_before_bits=1)
FRAMES = [0, 0x2AAAAAAAAAAA, 0x000100000000, 0x3FFFFFFFFFFF, 0x00800000F00D]
DICTIONARY = bytes([0x54, 0x55, 0xAA, 0xFE, 0x7F, 0xF0, 0x0D, 0xA8])
WRITTEN = 64
WORDS = [(n * 73 + 5) & 0x1FF for n in range(WRITTEN)] + [0] * (2048 - WRITTEN)


class Writer:
    """Writes a stream as the chip's tools do."""

    def __init__(self) -> None:
        self.data = bytearray(b"header\0" + PREAMBLE + b"\xff" * 4)
        self.crc = 0

    def put(self, *pieces: bytes) -> Writer:
        for piece in pieces:
            self.data += piece
            self.crc = crc16(piece, self.crc)
        return self

    def put_crc(self) -> Writer:
        self.data += self.crc.to_bytes(2)
        self.crc = 0
        return self

    def start(self, idcode: int = TOY.idcode) -> Writer:
        self.put(b"\x3b\0\0\0")
        self.crc = 0
        return self.put(b"\xe2\0\0\0", idcode.to_bytes(4), b"\x22\0\0\0\x40\0\0\0", b"\x46\0\0\0")

    def frames(self, frames: list[int] = FRAMES, flags: int = 0x91) -> Writer:
        self.put(b"\x82", bytes([flags]), len(frames).to_bytes(2))
        for number, frame in enumerate(reversed(frames)):
            self.put((frame << TOY.pad_after_bits).to_bytes(TOY.frame_bytes))
            if not flags & 0x40 or number == len(frames) - 1:
                self.put_crc()
            self.put(b"\xff" * (flags & 15))
        return self

    def compressed(self, frames: list[int] = FRAMES) -> Writer:
        self.put(b"\x02\0\0\0", DICTIONARY, b"\xb8\x91", len(frames).to_bytes(2))
        for frame in reversed(frames):
            self.put(compress((frame << TOY.pad_after_bits).to_bytes(8))).put_crc().put(b"\xff")
        return self

    def finish(self, bram_at: int = 3 << 11) -> bytes:
        self.data += b"\xff" * 12
        self.put(b"\xc2\x80\0\0", (0xC0FFEE).to_bytes(4)).put_crc()
        self.put(b"\xf6\0\0\0", bram_at.to_bytes(4), b"\xb2\xd0", (WRITTEN // 8).to_bytes(2))
        for start in range(0, WRITTEN, 8):
            packed = 0
            for word in WORDS[start : start + 8]:
                packed = packed << 9 | word
            self.put(packed.to_bytes(9))
        self.put_crc()
        self.put(b"\x5e\0\0\0")
        return bytes(self.data + b"\xff" * 4)


def compress(frame: bytes) -> bytes:
    """The documented code, bit by bit."""
    entries = DICTIONARY[::-1]
    bits = ""
    for byte in frame:
        if byte == 0:
            bits += "0"
        elif byte.bit_count() == 1:
            bits += f"100{byte.bit_length() - 1:03b}"
        elif byte in entries:
            bits += f"101{entries.index(byte):03b}"
        else:
            bits += f"11{byte:08b}"
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8)


WHOLE = Bitstream(idcode=TOY.idcode, usercode=0xC0FFEE, frames=FRAMES, brams={3: WORDS})


def test_crc_has_the_published_check_value() -> None:
    assert crc16(b"123456789") == 0xFEE8


@pytest.mark.parametrize("count", [31, 32, 33, 100, 479, 1200])
def test_many_bytes_have_the_crc_of_their_parts(count: int) -> None:
    data, crc = random.Random(count).randbytes(count), 0xBEEF
    assert crc16(data, crc) == functools.reduce(lambda before, byte: crc16(bytes([byte]), before), data, crc)


@pytest.mark.parametrize("flags", [0x91, 0x81, 0xD0])
def test_plain_frames_are_read(flags: int) -> None:
    assert parse(Writer().start().frames(flags=flags).finish(), TOY) == WHOLE


def test_compressed_frames_are_read() -> None:
    assert parse(Writer().start().compressed().finish(), TOY) == WHOLE


@pytest.mark.parametrize("kind", ["plain", "compressed"])
def test_no_damaged_byte_goes_unnoticed(kind: str) -> None:
    writer = Writer().start()
    stream = (writer.frames() if kind == "plain" else writer.compressed()).finish()
    first = stream.index(PREAMBLE) + len(PREAMBLE) + 4
    last = stream.rindex(b"\x5e\0\0\0")
    unnoticed = []
    for position in range(first, last, 1):
        damaged = bytearray(stream)
        damaged[position] ^= 0x10
        try:
            if parse(bytes(damaged), TOY) != WHOLE:
                unnoticed.append(position)
        except BitstreamError:
            continue
    assert unnoticed == []


def test_a_damaged_frame_is_a_crc_error() -> None:
    stream = bytearray(Writer().start().frames().finish())
    stream[stream.index(b"\x82\x91") + 6] ^= 1
    with pytest.raises(CrcMismatch, match="CRC of frame 4"):
        parse(bytes(stream), TOY)


def test_another_device_is_refused() -> None:
    with pytest.raises(IdcodeMismatch, match="0x41111043"):
        parse(Writer().start(0x41111043).frames().finish(), TOY)


def test_too_many_frames_are_refused() -> None:
    with pytest.raises(FrameOverflow, match="6 frames"):
        parse(Writer().start().frames([*FRAMES, 1]).finish(), TOY)


def test_frames_that_come_twice_are_refused() -> None:
    with pytest.raises(FrameOverflow, match="more than once"):
        parse(Writer().start().compressed().compressed().finish(), TOY)


def test_a_stream_that_is_cut_short_is_refused_at_any_length() -> None:
    stream = Writer().start().compressed().finish()
    end = stream.rindex(b"\x5e\0\0\0") + 4
    for length in range(end):
        with pytest.raises(BitstreamError):
            parse(stream[:length], TOY)


def test_block_rams_follow_each_other_and_are_written_eight_words_at_a_time() -> None:
    rams = parse(Writer().start().frames().finish((4 << 11) - 32), TOY).brams
    assert {number: len(words) for number, words in rams.items()} == {3: 2048, 4: 2048}
    assert [*rams[3][-32:], *rams[4][:32]] == WORDS[:WRITTEN]
    with pytest.raises(BitstreamError, match="0x1ffe is no multiple of 8"):
        parse(Writer().start().frames().finish((4 << 11) - 2), TOY)


def test_what_is_no_bitstream_is_refused() -> None:
    with pytest.raises(PreambleMissing):
        parse(b"\x7fELF" + bytes(100), TOY)


def test_an_unknown_command_is_refused() -> None:
    with pytest.raises(BitstreamError, match="unknown command 0x99"):
        parse(Writer().start().put(b"\x99\0\0\0").frames().finish(), TOY)


def test_partial_reconfiguration_is_refused() -> None:
    with pytest.raises(BitstreamError, match="partial reconfiguration"):
        parse(Writer().start().put(b"\xb4\0\0\0\0\0\0\0").frames().finish(), TOY)
