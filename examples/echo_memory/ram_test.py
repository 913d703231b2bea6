"""Tests the memory of this folder as one tests a RAM: `python examples/echo_memory/ram_test.py`.

Which lab it talks to is found as the `lutlab` command finds it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

from lutlab import BoardStream, Client

WORDS = 512
MASK = 0xFFFF_FFFF


def patterns() -> Iterator[tuple[str, list[int]]]:
    """What is written into the whole memory, one after the other."""
    yield "zeros", [0] * WORDS
    yield "ones", [MASK] * WORDS
    yield "own addresses", [4 * place for place in range(WORDS)]
    yield "their complements", [MASK ^ 4 * place for place in range(WORDS)]
    yield "a walking one", [1 << place % 32 for place in range(WORDS)]
    yield "noise", [random.getrandbits(32) for _ in range(WORDS)]


def test(board: BoardStream, words: list[int]) -> None:
    """Write the memory from its end on, word by word, and read it at once."""
    for place in reversed(range(WORDS)):
        board.write(4 * place, [words[place]])
    found = board.read(0, WORDS)
    wrong = [place for place in range(WORDS) if found[place] != words[place]]
    if wrong:
        at = wrong[0]
        raise SystemExit(f"{len(wrong)} words are wrong, first {4 * at:#x}: {found[at]:#010x}, not {words[at]:#010x}")


def main() -> None:
    """Build, load, test, give the board back."""
    with Client() as lab, lab.running(lab.submit(Path(__file__).with_name("design.py"))) as board:
        for name, words in patterns():
            began = time.perf_counter()
            test(board, words)
            print(f"{name}: {WORDS} words are right, {WORDS / (time.perf_counter() - began):.0f} written a second")


if __name__ == "__main__":
    main()
