"""Names of signals in a bitstream's header."""

from __future__ import annotations

from lutlab_events.signal_names import COMMENT, COMMENT_BYTES_MAX, HEADER, read_names, write_names

PLAIN = b"\xff\x00Part: LFE5U-25F-6CABGA381\x00\xff\xff\xff\xbd\xb3\xff"
NAMES = {"count": ["R1C2 SLICEA register 0", None], "été": ["R1C2 SLICEB register 1"]}


def test_names_come_back_and_the_rest_is_as_it_was() -> None:
    named = write_names(PLAIN, NAMES)
    assert read_names(named) == NAMES
    assert named.startswith(HEADER + b"Part: LFE5U-25F-6CABGA381\x00" + COMMENT)
    assert named.endswith(b"\x00\xff\xff\xff\xbd\xb3\xff")
    # The header of a bitstream ends with the first FF.
    assert named.index(b"\xff\xff\xff\xbd\xb3") == named.index(b"\xff", 2)


def test_a_bitstream_without_names_is_left_alone() -> None:
    assert write_names(PLAIN, {}) == PLAIN
    assert write_names(b"no header", NAMES) == b"no header"
    many = {str(number): [f"{number * 0x9E3779B97F4A7C15:x}"] for number in range(COMMENT_BYTES_MAX // 16)}
    assert write_names(PLAIN, many) == PLAIN


def test_what_is_no_list_of_names_names_nothing() -> None:
    named = write_names(PLAIN, NAMES)
    at = named.index(COMMENT) + len(COMMENT)
    damaged = (PLAIN, b"", named[: at + 9], named[:at] + b"!" + named[at + 1 :], named[: at + 20] + PLAIN[-7:])
    assert [read_names(data) for data in damaged] == [{}] * len(damaged)
