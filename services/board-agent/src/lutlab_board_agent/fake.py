"""A host with boards in memory: what the agent's ports look like to tests, and to nobody else.

A fake bitstream is `fake_bitstream(build_id)`. Boards answer with `lutlab_bus.fake`'s bridge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from lutlab_board_agent.domain.errors import LoaderFailed, SerialUnavailable
from lutlab_board_agent.domain.fencing import BoardMemory
from lutlab_board_agent.domain.lab import Cable, LabBoard
from lutlab_board_agent.domain.latency import LatencyTimer
from lutlab_board_agent.domain.loader import LoaderCode
from lutlab_bus.fake import FakeBridge, FakePort
from lutlab_events import ids
from lutlab_events.commands import Command

C = TypeVar("C")
MAGIC = b"FAKEBITS"
DEVICE = "lfe5u-25f"


def fake_bitstream(build_id: int, *, device: str = DEVICE, silent: bool = False) -> bytes:
    """A bitstream that `FakeHost` loads; a silent one never says hello."""
    return MAGIC + build_id.to_bytes(4, "little") + bytes([silent]) + device.encode()


class FakeLine(FakePort):
    """One opening of a fake board's serial line."""

    def __init__(self, board: FakeBoard, on_gone: Callable[[], None]) -> None:
        super().__init__(board.bridge or FakeBridge())
        self.board = board
        self.latency = LatencyTimer(found_ms=16, now_ms=1)
        self.sent = bytearray()
        self.closed = False
        self._tell_gone = on_gone
        self.on_reply = self._pass

    def _pass(self, data: bytes) -> bytes:
        return b"" if self.board.bridge is None or self.board.mute else data

    def write(self, data: bytes) -> None:
        """Straight to whatever the board runs now."""
        if self.lost:
            raise OSError("the fake line is closed")
        self.sent += data
        if self.board.bridge is not None:
            self.bridge = self.board.bridge
            super().write(data)

    async def read(self, limit_bytes: int) -> bytes:
        """See `SerialPort`; an end is an error, as with a tty."""
        data = await super().read(limit_bytes)
        if not data:
            raise OSError("the fake line ended")
        return data

    def close(self) -> None:
        """End it from this side."""
        self.closed = True
        self.pull_out()
        if self.board.line is self:
            self.board.line = None

    def end(self) -> None:
        """End it from the board's side."""
        self.close()
        self._tell_gone()


@dataclass
class FakeBoard:
    """A board: its cable, its line and what it runs."""

    lab: LabBoard
    present: bool = True
    bridge: FakeBridge | None = None
    line: FakeLine | None = None
    mute: bool = False
    loads: list[int] = field(default_factory=list)
    opened: list[FakeLine] = field(default_factory=list)

    def unplug(self) -> None:
        """Pull it out; it forgets its design."""
        self.present = False
        self.bridge = None
        if self.line is not None:
            self.line.end()

    def power_cycle(self) -> None:
        """Its FPGA forgets the design; the line stays."""
        self.bridge = None


class FakeHost:
    """Ports `Programmer` and `SerialPorts` over boards in memory.

    Attributes:
        hold: while it is cleared, loads hang.
        failure: what the next loads fail with.
    """

    def __init__(self, *boards: LabBoard) -> None:
        self.boards = {board.key: FakeBoard(board) for board in boards}
        self.hold = asyncio.Event()
        self.hold.set()
        self.failure: LoaderFailed | None = None
        self.loading = 0

    def _at(self, path: str) -> FakeBoard | None:
        found = [board for board in self.boards.values() if board.lab.serial.path == path]
        return found[0] if found else None

    def present(self, path: str) -> bool:
        """See `SerialPorts`."""
        board = self._at(path)
        return board is not None and board.present

    async def open(self, path: str, baud: int, on_gone: Callable[[], None]) -> FakeLine:
        """See `SerialPorts`."""
        board = self._at(path)
        if board is None or not board.present:
            raise SerialUnavailable(f"there is no serial line at {path}; is the board plugged in?")
        if board.line is not None:
            raise SerialUnavailable(f"another program has {path} open; close it")
        board.line = FakeLine(board, on_gone)
        board.opened.append(board.line)
        return board.line

    async def load(self, cable: Cable, bitstream: bytes, *, timeout_s: float) -> None:
        """See `Programmer`."""
        board = next((board for board in self.boards.values() if board.lab.cable == cable), None)
        self.loading += 1
        try:
            async with asyncio.timeout(timeout_s):
                await self.hold.wait()
        except TimeoutError:
            raise LoaderFailed(LoaderCode.LOADER_TIMEOUT, f"the fake loader hung for {timeout_s} s") from None
        finally:
            self.loading -= 1
        if board is None or not board.present:
            raise LoaderFailed(LoaderCode.CABLE_UNREACHABLE, "no fake board answers at the cable")
        if self.failure is not None:
            raise self.failure
        if not bitstream.startswith(MAGIC):
            raise LoaderFailed(LoaderCode.BITSTREAM_INVALID, "not a fake bitstream")
        if bitstream[13:].decode() != DEVICE:
            raise LoaderFailed(LoaderCode.WRONG_DEVICE, "a fake bitstream for another device")
        build_id = int.from_bytes(bitstream[8:12], "little")
        board.loads.append(build_id)
        board.bridge = None if bitstream[12] else FakeBridge(build_id=build_id)


class FakeMemories:
    """Port `Memories` in memory; keeps what was saved across agents of one test."""

    def __init__(self) -> None:
        self.saved: dict[str, BoardMemory] = {}

    def load(self, board_key: str) -> BoardMemory:
        """See `Memories`."""
        return self.saved.get(board_key, BoardMemory())

    async def save(self, board_key: str, memory: BoardMemory) -> None:
        """See `Memories`."""
        await asyncio.sleep(0)
        self.saved[board_key] = memory


class FakeBitstreams:
    """Port `Bitstreams` in memory."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        """Store a bitstream; its digest."""
        digest = ids.digest(data)
        self.blobs[digest] = data
        return digest

    async def get(self, digest: str) -> bytes | None:
        """See `Bitstreams`."""
        return self.blobs.get(digest)


class FakeCommands:
    """Port `Commands`: remembers what was sent, each command id once, as the scheduler does."""

    def __init__(self) -> None:
        self.sent: list[Command] = []
        self.ids: list[UUID] = []
        self.arrived = asyncio.Event()

    async def send(self, body: Command, *, command_id: UUID | None = None, correlation_id: UUID | None = None) -> UUID:
        """See `Commands`."""
        await asyncio.sleep(0)
        ident = command_id or ids.derived("fake", len(self.ids))
        self.sent.append(body)
        self.ids.append(ident)
        self.arrived.set()
        return ident

    def of(self, kind: type[C]) -> list[C]:
        """What was sent of one kind."""
        return [body for body in self.sent if isinstance(body, kind)]


class FakeTime:
    """Ports `Clock` and `Ticks`: stands still until told."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        """See `Ticks`."""
        return self.seconds

    def now(self) -> datetime:
        """See `Clock`."""
        return datetime.fromtimestamp(self.seconds, UTC)
