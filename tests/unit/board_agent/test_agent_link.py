"""What the agent tells about a line, and the latency timer of a made-up sysfs."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import serial
from agent_rig import BOB, rig

from lutlab_board_agent.adapters.serial_port import TtyPorts, shorten_latency
from lutlab_board_agent.domain.errors import SerialUnavailable
from lutlab_board_agent.domain.latency import LatencyTimer
from lutlab_events.busmsg import BusVerb


def sysfs(folder, tty_name, latency):
    device = folder / "class" / "tty" / tty_name / "device"
    device.mkdir(parents=True)
    (device / "latency_timer").write_text(latency)
    return device / "latency_timer"


@pytest.mark.parametrize("found", ["16\n", "2\n"])
def test_a_long_timer_is_shortened(tmp_path, found):
    timer = sysfs(tmp_path, "ttyUSB0", found)
    assert shorten_latency(tmp_path, "/dev/ttyUSB0") == LatencyTimer(found_ms=int(found), now_ms=1)
    assert timer.read_text() == "1\n"


def test_a_short_timer_is_left_alone(tmp_path):
    timer = sysfs(tmp_path, "ttyUSB0", "1\n")
    timer.chmod(0o444)
    assert shorten_latency(tmp_path, "/dev/ttyUSB0") == LatencyTimer(found_ms=1, now_ms=1)


@pytest.mark.parametrize("content", [None, "soon\n"])
def test_a_line_without_one(tmp_path, content):
    if content:
        sysfs(tmp_path, "ttyUSB0", content)
    assert shorten_latency(tmp_path, "/dev/ttyUSB0") is None


def test_a_refusal_is_told(tmp_path, monkeypatch):
    timer = sysfs(tmp_path, "ttyUSB0", "16\n")

    def refuse(self, *args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(timer), "write_text", refuse)
    told = shorten_latency(tmp_path, "/dev/ttyUSB0")
    assert (told.found_ms, told.now_ms) == (16, 16) and "Permission denied" in told.problem and "udev" in told.problem


async def test_opening_a_line_sets_it(tmp_path):
    master, slave = os.openpty()
    path = os.ttyname(slave)
    sysfs(tmp_path, os.path.basename(path), "16\n")  # noqa: PTH119 - the tty's name as the kernel has it
    line = await TtyPorts(tmp_path).open(path, 115_200, lambda: None)
    assert line.latency == LatencyTimer(found_ms=16, now_ms=1)
    line.close()
    os.close(slave)
    os.close(master)


async def test_stats_need_no_session_and_go_on_over_openings():
    async with rig() as r:
        await r.program(r.work(1))
        await r.write(3, 7)

        async def stats():
            reply = await r.ask(BusVerb.STATS, session=BOB, epoch=0)
            return json.loads(reply.frame)

        told = await stats()
        assert told["open"] and told["in_step"] and told["device"]["build_id"] == 0xABC
        assert told["latency_timer"] == {"found_ms": 16, "now_ms": 1, "problem": ""}
        assert told["line_baud"] == 12_500_000 and told["counters"]["operations"] == 1
        r.seat.disconnect()
        assert (await stats())["open"] is False
        await r.program(r.work(2))
        await r.write(3, 7, epoch=2)
        assert (await stats())["counters"]["operations"] == 2
        assert (await stats())["counters"]["resyncs"] >= 2


async def test_a_line_in_a_closed_folder_is_an_error_of_its_board_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was the end of the agent, and of all its boards."""

    def closed(self: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    ports = TtyPorts(tmp_path)
    monkeypatch.setattr(Path, "stat", closed)
    monkeypatch.setattr(serial, "Serial", closed)
    assert ports.present("/closed/tty")
    with pytest.raises(SerialUnavailable, match="the agent may not open /closed/tty"):
        await ports.open("/closed/tty", 115_200, lambda: None)
