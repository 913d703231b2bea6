"""The text of a program's functions in bulk: what `Writer.finish` does, in C; see `bulk`."""

from __future__ import annotations

import ctypes
from array import array
from itertools import accumulate
from typing import NamedTuple

from lutlab_virtual_board.bulk import address, minus_ones, zeros


class _WritingStruct(ctypes.Structure):
    _fields_ = (
        ("text", ctypes.c_char_p),
        ("end", ctypes.c_void_p),
        ("net", ctypes.c_void_p),
        ("functions", ctypes.c_int),
        ("first", ctypes.c_void_p),
        ("block", ctypes.c_void_p),
        ("nets", ctypes.c_int),
        ("group", ctypes.c_void_p),
        ("group_count", ctypes.c_int),
        ("words", ctypes.c_int),
        *((name, ctypes.c_void_p) for name in ("defined", "place", "seen", "reader_first", "readers")),
        ("marks", ctypes.c_void_p),
        ("asked", ctypes.c_void_p),
        ("field_count", ctypes.c_int),
        ("out", ctypes.c_void_p),
        ("out_count", ctypes.c_ulong),
        ("out_max", ctypes.c_ulong),
    )


class Functions(NamedTuple):
    """Functions that are to be written.

    Attributes:
        texts: their statements.
        nets: the net that each statement computes, or less than zero.
        first: of each function its first statement, and one more for the end.
        block: of each function its block's number, or less than zero.
        group: of each register its group.
        net_count: more than the number of any net in them.
    """

    texts: list[str]
    nets: array[int]
    first: array[int]
    block: array[int]
    group: array[int]
    net_count: int


class Written(NamedTuple):
    """What has been written.

    Attributes:
        text: of all functions.
        field_count: nets that are kept in the state.
        marks: for each group of registers the blocks that read it: bits by word.
        asked: statements that read other state, about which nothing is in `marks`.
    """

    text: str
    field_count: int
    marks: list[dict[int, int]]
    asked: list[int]


def write(lib: ctypes.CDLL, functions: Functions, words: int) -> Written | None:
    """Write functions; None where one is too long.

    Args:
        lib: of `bulk.library`.
        functions: that are written.
        words: that hold a bit for each block.
    """
    nets = functions.net_count
    groups = 1 + max(functions.group, default=0)
    marks, asked = array("Q", bytes(8 * groups * words)), bytearray(len(functions.texts) + 1)
    ends = array("i", accumulate(map(len, functions.texts)))
    buffers = ends, functions.nets, functions.first, functions.block, functions.group
    found = minus_ones(nets), minus_ones(nets), zeros(nets), zeros(nets + 3)
    end, net, first, block, group = map(address, buffers)
    defined, place, seen, reader_first = map(address, found)
    writing = _WritingStruct(
        text="".join(functions.texts).encode("ascii"), end=end, net=net, functions=len(functions.block), first=first,
        block=block, nets=nets, group=group, group_count=groups, words=words, defined=defined, place=place, seen=seen,
        reader_first=reader_first, marks=address(marks), asked=address(asked),
    )  # fmt: skip
    failed = lib.bulk_write(ctypes.byref(writing))
    text = ctypes.string_at(writing.out, writing.out_count).decode("ascii") if writing.out_count else ""
    lib.bulk_text_free(ctypes.byref(writing))
    if failed:
        return None
    rows = [marks[at : at + words] for at in range(0, groups * words, words)]
    masks = [{word: bits for word, bits in enumerate(row) if bits} for row in rows]
    return Written(text[:-1], writing.field_count, masks, [index for index, one in enumerate(asked) if one])
