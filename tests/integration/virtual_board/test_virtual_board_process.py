"""The board as a process: programmed by the real openFPGALoader, spoken to through pyserial."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from vb_process import BAUD, BoardProcess, initial_word
from vb_toolchain import Build

from lutlab_virtual_board.compiler import find_gcc

RUN_COUNTER = 0x8000
LEDS = 0x8001


def test_a_board_is_programmed_and_answers(builds: Callable[[str], Build], board: BoardProcess) -> None:
    with board.port() as port:
        assert port.is_silent()
    assert board.load(builds("soc").bit).returncode == 0
    with board.port() as port:
        assert [port.read(address) for address in (0, 1, 5, 511)] == [initial_word(a) for a in (0, 1, 5, 511)]
        for address in range(0, 512, 37):
            port.write(address, address * 0x12345677 & 0xFFFFFFFF)
        assert [port.read(a) for a in range(0, 512, 37)] == [a * 0x12345677 & 0xFFFFFFFF for a in range(0, 512, 37)]
        port.write(LEDS, 9)
        assert port.read(LEDS) == 9


def test_a_larger_board_takes_a_plain_bitstream(builds: Callable[[str], Build], tmp_path: Path, cache: Path) -> None:
    with BoardProcess(tmp_path, cache, "lfe5um5g-85f") as board:
        assert board.load(builds("soc85").raw_bit).returncode == 0
        with board.port() as port:
            assert port.read(77) == initial_word(77)


def test_a_second_bitstream_replaces_the_first(builds: Callable[[str], Build], board: BoardProcess) -> None:
    assert board.load(builds("soc").bit).returncode == 0
    with board.port() as port:
        port.write(3, 12345)
    assert board.load(builds("pll").bit).returncode == 0
    with board.port() as port:
        assert port.is_silent() or port.port.read(4), "a line at twice the design's speed carries garbage at best"
    # The PLL halves the clock, and so the line's speed.
    with board.port(BAUD // 2) as port:
        assert port.read(3) == initial_word(3)
    assert board.load(builds("soc").bit).returncode == 0
    with board.port() as port:
        assert port.read(3) == initial_word(3), "programming starts from the initial state"


def test_bytes_for_an_unconfigured_board_are_swallowed(builds: Callable[[str], Build], board: BoardProcess) -> None:
    with board.port() as port:
        port.port.write(b"R\0\1R\0\2R")
        assert board.load(builds("soc").bit).returncode == 0
        assert port.read(4) == initial_word(4)


@pytest.mark.parametrize("percent", [99, 103])
def test_a_line_a_little_off_its_speed_still_works(
    builds: Callable[[str], Build], board: BoardProcess, percent: int
) -> None:
    assert board.load(builds("soc").bit).returncode == 0
    with board.port(BAUD * percent // 100) as port:
        for value in (0, 0xFFFFFFFF, 0x55AA55AA, 0x01020408):
            port.write(9, value)
            assert port.read(9) == value


def test_the_terminal_outlives_its_users(builds: Callable[[str], Build], board: BoardProcess) -> None:
    assert board.load(builds("soc").bit).returncode == 0
    for value in range(3):
        with board.port() as port:
            port.write(8, value)
        with board.port() as port:
            assert port.read(8) == value


@pytest.mark.skipif(find_gcc() is None, reason="needs gcc")
def test_the_better_build_continues_where_the_first_was(builds: Callable[[str], Build], tmp_path: Path) -> None:
    with BoardProcess(tmp_path, tmp_path / "fresh") as fresh:
        assert fresh.load(builds("soc").bit).returncode == 0
        with fresh.port() as port:
            port.write(7, 0xFEEDF00D)
            port.write(RUN_COUNTER, 1000)
            before = port.read(RUN_COUNTER)
            assert not fresh.events("better_build_swapped_in"), "the first answer must not wait for gcc"
            swapped = fresh.wait_for("better_build_swapped_in")
            assert swapped["compiler"] == "gcc"
            assert port.read(7) == 0xFEEDF00D
            assert port.read(RUN_COUNTER) > before > 1000


def test_the_same_bits_are_not_translated_twice(builds: Callable[[str], Build], tmp_path: Path) -> None:
    cached = []
    for compiler in ("tcc", "tcc"):
        with BoardProcess(tmp_path, tmp_path / "kept", compiler=compiler) as board:
            assert board.load(builds("soc").bit).returncode == 0
            cached.append(board.wait_for("chip_configured")["cached"])
            with board.port() as port:
                assert port.read(6) == initial_word(6)
    assert cached == [False, True]


def test_time_passes_without_traffic(builds: Callable[[str], Build], board: BoardProcess) -> None:
    assert board.load(builds("soc").bit).returncode == 0
    with board.port() as port:
        port.write(RUN_COUNTER, 0)
        first = port.read(RUN_COUNTER)
        time.sleep(0.1)
        second = port.read(RUN_COUNTER)
        assert second - first > 10_000


def test_an_idle_board_leaves_the_processor_alone(builds: Callable[[str], Build], tmp_path: Path, cache: Path) -> None:
    # tcc: a build of gcc's that arrives in the middle would be counted as well.
    with BoardProcess(tmp_path, cache, compiler="tcc") as board, board.port() as port:
        assert board.load(builds("soc").bit).returncode == 0
        port.read(1)
        time.sleep(0.5)
        began = board.processor_s()
        time.sleep(1.0)
        assert board.processor_s() - began < 0.025, "nothing moves in this design"  # two ticks of the accounting
        port.write(RUN_COUNTER, 0)
        time.sleep(0.5)
        began = board.processor_s()
        time.sleep(2.0)
        assert board.processor_s() - began <= 0.08, "a counting design idles in slices"
        # A new byte is served at once all the same.
        times = []
        for _ in range(20):
            time.sleep(0.01)
            start = time.perf_counter()
            port.read(1)
            times.append(time.perf_counter() - start)
        # It waits up to 50 ms for a slice if it is not; on a busy machine both processes queue for a processor.
        assert sorted(times)[5] < 0.01


def test_a_read_takes_well_under_a_millisecond(builds: Callable[[str], Build], board: BoardProcess) -> None:
    assert board.load(builds("soc").bit).returncode == 0
    with board.port() as port:
        times = []
        for _ in range(300):
            start = time.perf_counter()
            port.read(5)
            times.append(time.perf_counter() - start)
    assert sorted(times)[150] < 0.001


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_board_leaves_nothing_behind(tmp_path: Path, cache: Path, number: signal.Signals) -> None:
    with BoardProcess(tmp_path, cache) as board:
        assert board.link.is_symlink()
        assert str(board.link.readlink()) == board.ready["tty"]
        assert board.ready["pid"] == board.process.pid
        assert board.stop(number) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["board.log"]


def test_one_programmer_at_a_time(builds: Callable[[str], Build], board: BoardProcess) -> None:
    with socket.create_connection(("127.0.0.1", board.ready["xvc_port"]), timeout=5) as first:
        first.sendall(b"getinfo:")
        assert first.recv(100).startswith(b"xvcServer_v1.0:")
        with socket.create_connection(("127.0.0.1", board.ready["xvc_port"]), timeout=5) as second:
            assert second.recv(100) == b""
    board.wait_for("jtag_client_left")
    assert board.load(builds("soc").bit).returncode == 0


def test_a_client_that_speaks_nonsense_is_cut_off(board: BoardProcess) -> None:
    with socket.create_connection(("127.0.0.1", board.ready["xvc_port"]), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert client.recv(100) == b""
    assert board.wait_for("jtag_client_cut_off")["code"] == "xvc_protocol_error"


def test_a_programmer_that_dies_leaves_the_board_silent(builds: Callable[[str], Build], board: BoardProcess) -> None:
    assert board.load(builds("soc").bit).returncode == 0
    with socket.create_connection(("127.0.0.1", board.ready["xvc_port"]), timeout=5) as client:
        # Reset, then ISC_ENABLE (0xC6) into the instruction register.
        tms = [1, 1, 1, 1, 1, 0, 1, 1, 0, 0, *[0] * 7, 1, 1, 0]
        tdi = [0] * 10 + [0xC6 >> n & 1 for n in range(8)] + [0, 0]
        bits = [sum(bit << n for n, bit in enumerate(line)).to_bytes(3, "little") for line in (tms, tdi)]
        client.sendall(b"shift:" + len(tms).to_bytes(4, "little") + bits[0] + bits[1])
        assert len(client.recv(100)) == 3
    with board.port() as port:
        assert port.is_silent()
    assert board.load(builds("soc").bit).returncode == 0
    with board.port() as port:
        assert port.read(2) == initial_word(2)


def test_an_unknown_profile_is_an_error_that_lists_the_known(tmp_path: Path, cache: Path) -> None:
    board = BoardProcess(tmp_path, cache, "lfe5u-1m")
    with pytest.raises(AssertionError, match="lfe5u-25f"):
        board.__enter__()
    assert board.stop() == 2
