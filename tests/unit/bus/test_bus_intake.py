"""Bytes to frames: any chunking gives what a plain reading of the whole line gives."""

from __future__ import annotations

import random
from binascii import crc_hqx
from zlib import crc32

import pytest

from lutlab_bus.fake import _brief_reply, _is_whole, _stuff, _unstuff
from lutlab_bus.intake import PIECE_BYTES_MAX, Intake


def sealed(body: bytes, *, is_long: bool) -> bytes:
    content = (b"\x40\0" if is_long else b"\0") + body
    check = crc32(content).to_bytes(4, "little") if is_long else crc_hqx(content, 0xFFFF).to_bytes(2, "big")
    return content + check


def line_of(dice: random.Random) -> bytes:
    """Frames of all sizes, some damaged, some empty."""
    pieces = []
    for _ in range(12):
        size = dice.choice([0, 1, 5, 29, 30, 250, 254, 255, 3000, 9000])
        body = dice.choice([bytes(size), b"\xff" * size, dice.randbytes(size)])
        line = _stuff(sealed(body, is_long=size > 29 or dice.random() < 0.5))
        if dice.random() < 0.4:
            word = dice.choice([bytes(4), dice.randbytes(4), dice.randbytes(1) + bytes(3)])
            line = _brief_reply(0x80 | dice.randrange(64), word + bytes([dice.randrange(4)]))
            line = dice.choice([b"", b"", b"\xff", line[:-1]]) + line
        if dice.random() < 0.3:
            at = dice.randrange(len(line) - 1)
            line = line[:at] + dice.choice([b"", b"\x01", b"\0", b"\xff\xff"]) + line[at + 1 :]
        pieces.append(line + b"\0" * dice.choice([0, 0, 1, 2]))
    return b"".join(pieces)


def briefly(piece: bytes) -> bytes | None:
    """The frame that a brief reply stands for, by trying all heads."""
    rest = _unstuff(bytes([piece[0] & 0x0F]) + piece[1:]) if piece[0] & 0x0F else None
    if rest is None or len(rest) != 6 or len(piece) != 7:
        return None
    body = rest[:4] + bytes([piece[0] >> 4 & 7]) + rest[4:]
    return next((bytes([head]) + body for head in range(0x80, 0xC0) if not crc_hqx(bytes([head]) + body, 0xFFFF)), None)


@pytest.mark.parametrize("size", range(1, 9))
def test_a_brief_reply_is_taken_at_its_last_byte(size):
    line = _brief_reply(0x80 | 11, b"\x05\0\xde\xc0\x02")
    intake = Intake()
    taken = [(at, frame) for at in range(0, 8, size) for frame in intake.feed(line[at : at + size])]
    frame = b"\x8b\x05\0\xde\xc0\x02"
    frame += crc_hqx(frame, 0xFFFF).to_bytes(2, "big")
    assert taken == [((7 - 1) // size * size, (frame, 7))]
    assert intake.empty
    assert intake.feed(b"\0" + line[:3]) == []
    assert intake.feed(line[3:7]) == [(frame, 7)]
    assert not intake.empty
    assert intake.feed(b"\x07\x08\0") == [(None, 2)]


def plainly(line: bytes) -> list[tuple[bytes | None, int]]:
    found = []
    for piece in line.split(b"\0")[:-1]:
        if piece and piece[0] & 0x80:
            found.append((briefly(piece[:7]), min(7, len(piece))))
            found += [(None, len(piece) - 7)] if len(piece) > 7 else []
        elif piece:
            frame = _unstuff(piece)
            found.append((frame if frame is not None and _is_whole(frame) else None, len(piece)))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_any_chunking(seed):
    dice = random.Random(seed)
    line = line_of(dice)
    for size in (1, 7, 255, 4095, len(line)):
        intake, taken = Intake(), []
        for start in range(0, len(line), size):
            chunk = line[start : start + size]
            if b"\0" not in chunk and dice.random() < 0.5:
                intake.keep([chunk])
            else:
                taken += intake.feed(chunk)
        assert taken == plainly(line)
        assert intake.empty


@pytest.mark.parametrize("rest", [1, 4095, PIECE_BYTES_MAX])
def test_a_frame_without_an_end_is_given_up_and_the_next_is_taken(rest):
    good = sealed(b"hello", is_long=False)
    intake = Intake()
    for _ in range(PIECE_BYTES_MAX // 4095):
        assert intake.feed(b"\x05" * 4095) == []
    assert intake.feed(b"\x05" * rest) == []
    assert not intake.empty
    size = PIECE_BYTES_MAX // 4095 * 4095 + rest
    assert intake.feed(b"\x05\0" + _stuff(good)) == [(None, size + 1), (good, len(good) + 1)]
    assert intake.empty


def test_clear_forgets():
    intake = Intake()
    intake.feed(b"\x03abc")
    intake.clear()
    good = sealed(b"x", is_long=True)
    assert intake.feed(_stuff(good)) == [(good, len(good) + 1)]
