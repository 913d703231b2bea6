"""Boards in memory that know which load they run, and notice a byte that has no right to be there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lutlab_board_agent.domain.errors import LoaderFailed
from lutlab_board_agent.domain.fencing import BoardMemory
from lutlab_board_agent.domain.lab import Cable, LabBoard, Serial, XvcClient
from lutlab_board_agent.fake import DEVICE, FakeBoard, FakeHost, FakeMemories
from lutlab_bus.fake import FakeBridge
from lutlab_events.busmsg import Lease
from lutlab_events.ids import digest
from lutlab_sim.loop import current


def lab_board(key: str, number: int) -> LabBoard:
    """A board in a lab file."""
    cable, serial = XvcClient(host="127.0.0.1", port=3000 + number), Serial(path=f"/dev/sim{number}")
    return LabBoard(key=key, profile=DEVICE, cable=cable, serial=serial)


@dataclass
class Truth:
    """What really happened to a board, whatever its agent remembers.

    Attributes:
        begun: the highest epoch whose load began.
        done: the highest epoch whose load ended well.
        running: epoch of the design in the device, None for none.
        loader: a load is under way.
    """

    begun: int = 0
    done: int = 0
    running: int | None = None
    loader: bool = False


class SimMemories(FakeMemories):
    """The disk of an agent's host: what a dead process writes does not get there."""

    async def save(self, board_key: str, memory: BoardMemory) -> None:
        process = current.get()
        await asyncio.sleep(0.001)
        if process is None or process.alive:
            self.saved[board_key] = memory


class Words(dict[int, int]):
    """A board's memory; each word written names the lease it was written under."""

    def __init__(self, written: Callable[[int], None]) -> None:
        super().__init__()
        self._written = written

    def __setitem__(self, address: int, word: int) -> None:
        self._written(word)
        super().__setitem__(address, word)


class SimHost(FakeHost):
    """The cables and serial lines of an agent's host.

    Attributes:
        trouble: chance that a load fails.
    """

    def __init__(self, world: Any, keys: list[str], first: int) -> None:
        super().__init__(*(lab_board(key, first + i) for i, key in enumerate(keys)))
        self._world = world
        self.truths = {key: Truth() for key in keys}
        self.memories = SimMemories()
        self.trouble = 0.0

    async def load(self, cable: Cable, bitstream: bytes, *, timeout_s: float) -> None:
        """See `Programmer`. Checks that the load is the newest there ever was for this board."""
        board = next(b for b in self.boards.values() if b.lab.cable == cable)
        key, world = board.lab.key, self._world
        truth, process = self.truths[key], current.get()
        memory = self.memories.saved.get(key, BoardMemory())
        epoch, ordered = memory.epoch, world.ordered(memory.fpga_id, memory.epoch)
        if truth.loader:
            world.fail(f"two loads of {key} at once")
        if epoch < truth.begun:
            world.fail(f"stale load: {key} is loaded under epoch {epoch}, but {truth.begun} had begun")
        if ordered is None or ordered.digest != digest(bitstream):
            world.fail(f"{key} is loaded with {digest(bitstream)[:8]} under epoch {epoch}; the ledger says {ordered}")
        truth.begun, truth.running, truth.loader = max(truth.begun, epoch), None, True
        board.bridge = None
        try:
            await asyncio.sleep(0.1 + world.rng.random())
        finally:
            truth.loader = False
        if process is not None and not process.alive:
            return
        if world.rng.random() < self.trouble:
            raise LoaderFailed("loader_failed", "the cable is loose")
        await super().load(cable, bitstream, timeout_s=timeout_s)
        truth.running = epoch
        truth.done = max(truth.done, epoch)
        build_id = int.from_bytes(bitstream[8:12], "little")
        board.bridge = FakeBridge(Words(lambda word: self._written(key, memory, word)), build_id=build_id)

    def _written(self, key: str, memory: BoardMemory, word: int) -> None:
        lease: Lease | None = self._world.leases.get(word)
        truth = self.truths[key]
        self._world.writes += 1
        if lease is None or lease.epoch != truth.running or lease.fpga_id != memory.fpga_id:
            self._world.fail(f"stale write: {lease} wrote to {key}, which runs epoch {truth.running}")

    def power_cycle(self, key: str) -> None:
        """The device forgets its design."""
        self.boards[key].power_cycle()
        self.truths[key].running = None

    def unplug(self, key: str) -> None:
        """Pull a board out."""
        self.boards[key].unplug()
        self.truths[key].running = None

    def plug(self, key: str) -> None:
        """Put it back."""
        board: FakeBoard = self.boards[key]
        board.present = True

    def end_lines(self) -> None:
        """The process that had them open is dead."""
        for board in self.boards.values():
            if board.line is not None:
                board.line.end()


def session_word(world: Any, lease: Lease) -> int:
    """A new word that names a lease."""
    word = len(world.leases) + 1
    world.leases[word] = lease
    return int(word)
