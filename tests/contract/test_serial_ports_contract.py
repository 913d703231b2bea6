"""Port `SerialPorts` of the board agent: the fake and real ttys behave alike."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import os
import pty
import tty
from pathlib import Path

import pytest

from lutlab_board_agent.adapters.serial_port import TtyPorts
from lutlab_board_agent.app.ports import SerialLine, SerialPorts
from lutlab_board_agent.domain.errors import SerialUnavailable
from lutlab_board_agent.domain.lab import LabBoard, Serial, XvcClient
from lutlab_board_agent.fake import FakeHost
from lutlab_bus import BusLink, LinkLost, Read, Write
from lutlab_bus.fake import FakeBridge

BAUD = 12_500_000
BUILD_ID = 0x600D


class Place(abc.ABC):
    """A host with one board whose design answers, and ways to mistreat it."""

    ports: SerialPorts
    path: str

    @abc.abstractmethod
    def unplug(self) -> None: ...

    @abc.abstractmethod
    def plug_in(self) -> None: ...

    def close(self) -> None:
        self.unplug()


class FakePlace(Place):
    def __init__(self, folder: Path) -> None:
        lab = LabBoard(
            key="b", profile="lfe5u-25f", cable=XvcClient(host="h", port=1), serial=Serial(path=str(folder / "tty"))
        )
        self.ports = self.host = FakeHost(lab)
        self.path = lab.serial.path
        self.plug_in()

    def unplug(self) -> None:
        self.host.boards["b"].unplug()

    def plug_in(self) -> None:
        board = self.host.boards["b"]
        board.present, board.bridge = True, FakeBridge(build_id=BUILD_ID)


class PtyPlace(Place):
    """A pseudo terminal with a bridge at its far end, behind a link as udev or a virtual board makes one."""

    def __init__(self, folder: Path) -> None:
        self.ports = TtyPorts()
        self.path = str(folder / "tty")
        self._link = folder / "tty"
        self._master = -1
        self.plug_in()

    def plug_in(self) -> None:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._bridge = FakeBridge(build_id=BUILD_ID)
        self._replies = bytearray()
        self._link.symlink_to(os.ttyname(self._slave))
        asyncio.get_running_loop().add_reader(self._master, self._answer)

    def _answer(self) -> None:
        self._replies += self._bridge.feed(os.read(self._master, 65536))
        self._send()

    def _send(self) -> None:
        with contextlib.suppress(BlockingIOError):
            del self._replies[: os.write(self._master, self._replies)]
        loop = asyncio.get_running_loop()
        if self._replies:
            loop.add_writer(self._master, self._send)
        else:
            loop.remove_writer(self._master)

    def unplug(self) -> None:
        if self._master >= 0:
            self._link.unlink()
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._master)
            loop.remove_writer(self._master)
            os.close(self._master)
            os.close(self._slave)
            self._master = -1


@pytest.fixture(params=[FakePlace, PtyPlace])
async def place(request: pytest.FixtureRequest, tmp_path: Path):
    made = request.param(tmp_path)
    yield made
    made.close()


async def opened(place: Place, gone: list[str] | None = None) -> SerialLine:
    return await place.ports.open(place.path, BAUD, lambda: gone.append("gone") if gone is not None else None)


async def test_words_pass(place: Place) -> None:
    line = await opened(place)
    link = await BusLink.open(line, timeout_s=5)
    assert link.info.build_id == BUILD_ID
    write, read = await link.execute([Write(7, [1, 2]), Read(7, 2)], 5)
    assert write.ok and list(read.words) == [1, 2]
    line.close()


async def test_many_words_pass(place: Place) -> None:
    line = await opened(place)
    link = await BusLink.open(line, timeout_s=5)
    blocks = [list(range(start, start + 512)) for start in range(0, 32 * 512, 512)]
    operations = [operation for block in blocks for operation in (Write(0, block), Read(0, 512))]
    results = await link.execute(operations, 20)
    assert [list(r.words) for r in results[1::2]] == blocks
    line.close()


async def test_presence(place: Place) -> None:
    assert place.ports.present(place.path)
    place.unplug()
    assert not place.ports.present(place.path)
    with pytest.raises(SerialUnavailable, match="is the board plugged in"):
        await opened(place)


async def test_a_line_is_opened_by_one_at_a_time(place: Place) -> None:
    line = await opened(place)
    with pytest.raises(SerialUnavailable, match=r"another program has .* open"):
        await opened(place)
    line.close()
    (await opened(place)).close()


async def test_closing_ends_a_waiting_read_and_later_writes(place: Place) -> None:
    gone: list[str] = []
    line = await opened(place, gone)
    reading = asyncio.create_task(line.read(1))
    await asyncio.sleep(0.01)
    line.close()
    with pytest.raises(OSError):
        await reading
    with pytest.raises(OSError):
        line.write(b"x")
    line.close()
    assert gone == []


async def test_unplugging_is_told_once_and_ends_everything(place: Place) -> None:
    gone: list[str] = []
    line = await opened(place, gone)
    link = await BusLink.open(line, timeout_s=5)
    reading = asyncio.create_task(line.read(1))
    await asyncio.sleep(0.01)
    place.unplug()
    with pytest.raises(OSError):
        await reading
    with pytest.raises(LinkLost):
        await link.execute([Read(0)], 5)
    assert gone == ["gone"]
    line.close()
    assert gone == ["gone"]


async def test_it_can_be_plugged_in_again(place: Place) -> None:
    line = await opened(place)
    place.unplug()
    await asyncio.sleep(0.01)
    place.plug_in()
    again = await opened(place)
    assert (await BusLink.open(again, timeout_s=5)).info.build_id == BUILD_ID
    line.close()
    again.close()


async def test_a_cancelled_read_loses_nothing(place: Place) -> None:
    line = await opened(place)
    reading = asyncio.create_task(line.read(1))
    await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert (await BusLink.open(line, timeout_s=5)).info.build_id == BUILD_ID
    line.close()
