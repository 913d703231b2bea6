"""A board's side door: pins, recorded signals, and faults on demand."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from vb_process import BoardProcess, initial_word
from vb_toolchain import Build

TRIES = 10


@pytest.fixture
def running(builds: Callable[[str], Build], board: BoardProcess) -> BoardProcess:
    assert board.load(builds("soc").bit).returncode == 0
    return board


def levels(board: BoardProcess) -> dict[str, int]:
    return {pin["name"]: pin["level"] for pin in board.ask("pins")}


def test_leds_show_what_the_design_writes(running: BoardProcess) -> None:
    with running.port() as port:
        for value in (0b0101, 0b1010, 0b0011):
            port.write(0x8001, value)
            port.read(0)  # the LEDs are looked at once a cycle, and this takes some
            assert [levels(running)[f"led{bit}"] for bit in range(4)] == [value >> bit & 1 for bit in range(4)]


def test_only_inputs_of_the_design_can_be_set(running: BoardProcess) -> None:
    for name in ("led0", "tx", "rx", "Z99"):
        with pytest.raises(ValueError, match=name):
            running.ask("drive", pins={name: 1})


def test_a_recording_shows_the_serial_line_bit_by_bit(running: BoardProcess) -> None:
    with running.port() as port, ThreadPoolExecutor(1) as pool:
        trigger = {"signal": "tx", "level": 0}
        recording = pool.submit(running.ask, "capture", cycles=400, signals=["rx", "tx"], trigger=trigger, wait_s=20)
        while not recording.done():
            assert port.read(3) == initial_word(3)  # the bus goes on while a trigger is waited for
        text = recording.result()
    period_ps = int(re.search(r"(\d+) ps each", text)[1])  # type: ignore[index]
    mark = re.search(r"\$var wire 1 (\S+) tx", text)[1]  # type: ignore[index]
    line, now, level = {}, 0, 0
    for row in text.split("$enddefinitions $end")[1].split():
        if row.startswith("#"):
            for cycle in range(now, int(row[1:]) // period_ps):
                line[cycle] = level
            now = int(row[1:]) // period_ps
        elif row[1:] == mark:
            level = int(row[0])
    sent, at = [], 0
    for _ in range(4):
        start = next(cycle for cycle in range(at, 400) if not line[cycle])
        # A bit takes four cycles; the trigger has eaten the first cycle of the first start bit.
        sent.append(sum(line[start + 4 * (bit + 1) + 1] << bit for bit in range(8)))
        at = start + 38
    assert int.from_bytes(bytes(sent)) == initial_word(3)


def test_a_trigger_that_does_not_come_is_told(running: BoardProcess) -> None:
    with pytest.raises(ValueError, match=r"did not come to 0 within 0\.1 s"):
        running.ask("capture", cycles=10, trigger={"signal": "tx", "level": 0}, wait_s=0.1)
    with pytest.raises(ValueError, match="no signal 'nothing'"):
        running.ask("capture", cycles=10, signals=["nothing"])


def test_a_lossy_line_loses_and_a_mended_one_does_not(running: BoardProcess) -> None:
    running.ask("faults", loss=1.0)
    with running.port() as port:
        assert port.is_silent()
    running.ask("faults")
    with running.port() as port:
        assert port.read(5) == initial_word(5)
    with pytest.raises(ValueError, match="probabilities"):
        running.ask("faults", flip=2)


def test_a_stuck_chain_and_lost_power_are_what_the_programmer_meets(
    running: BoardProcess, builds: Callable[[str], Build]
) -> None:
    running.ask("faults", jtag_stuck=1)
    assert running.load(builds("soc").bit).returncode != 0
    running.ask("faults")
    running.ask("power_loss")
    with running.port() as port:
        assert port.is_silent()
    with pytest.raises(ValueError, match="no design runs"):
        running.ask("pins")
    assert running.load(builds("soc").bit).returncode == 0
    with running.port() as port:
        assert port.read(9) == initial_word(9)


def test_an_upset_bit_changes_the_design_or_is_refused(running: BoardProcess) -> None:
    with pytest.raises(ValueError, match="no bit"):
        running.ask("upset", frame=0, bit=10**6)
    running.ask("upset", frame=3, bit=5)  # in no used tile: the design goes on, from its start
    with running.port() as port:
        # A request that comes while the design is still in its power-on reset is lost, as on a real board.
        port.port.timeout = 1.0
        for _ in range(TRIES):
            with contextlib.suppress(AssertionError):
                port.read(7)
                break
        assert port.read(7) == initial_word(7)
