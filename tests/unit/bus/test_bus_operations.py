from __future__ import annotations

from array import array

import pytest

from lutlab_bus import InvalidOperation, Read, Result, Status, Write


@pytest.mark.parametrize(
    "words", [[1, 2], (1, 2), array("I", [1, 2]), array("I", [1, 2]).tobytes(), memoryview(array("I", [1, 2]))]
)
def test_words_may_be_numbers_or_a_buffer(words):
    assert Write(0, words).words == array("I", [1, 2])


def test_an_array_of_words_is_not_copied():
    words = array("I", [1])
    assert Write(0, words).words is words


@pytest.mark.parametrize("words", [[-1], [1 << 32], [1.5], ["x"], b"123", 7])
def test_what_is_not_words_is_refused(words):
    with pytest.raises(InvalidOperation, match="not 32-bit words"):
        Write(0, words)


@pytest.mark.parametrize(("address", "count"), [(-1, 1), (1 << 24, 1), (0, 0), (0, -1), (0, (1 << 24) + 1)])
def test_out_of_range_reads_are_refused(address, count):
    with pytest.raises(InvalidOperation):
        Read(address, count)


def test_empty_write_is_refused():
    with pytest.raises(InvalidOperation, match="0 words"):
        Write(0, [])


def test_results():
    assert Result(Status.OK).ok
    assert not Result(Status.BUS_TIMEOUT).ok
    assert Result(Status.OK).words == array("I")
