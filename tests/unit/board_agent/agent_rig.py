"""The agent's use cases over a host in memory, and shorthand to drive them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

from lutlab_board_agent.app.program_board import Outcome, ProgramService
from lutlab_board_agent.app.register import Registration
from lutlab_board_agent.app.seat import Seat
from lutlab_board_agent.app.serve_bus import BoardBus, BusService
from lutlab_board_agent.app.watch_board import BoardWatch
from lutlab_board_agent.domain.lab import LabBoard, Serial, XvcClient
from lutlab_board_agent.fake import (
    DEVICE,
    FakeBitstreams,
    FakeBoard,
    FakeCommands,
    FakeHost,
    FakeMemories,
    FakeTime,
    fake_bitstream,
)
from lutlab_bus import Operation, Read, Write, stream
from lutlab_events.busmsg import BusHeaders, BusReply, BusVerb, Lease
from lutlab_events.values import BitstreamRef
from lutlab_events.work import ProgramWork

ALICE, BOB = UUID(int=0xA11CE), UUID(int=0xB0B)


def lab_board(index: int) -> LabBoard:
    return LabBoard(
        key=f"bench-{index}",
        profile=DEVICE,
        cable=XvcClient(host="127.0.0.1", port=3000 + index),
        serial=Serial(path=f"/dev/fake{index}"),
    )


class Rig:
    """One agent; `again()` is the same host after the agent's process died."""

    def __init__(self, boards: int = 1) -> None:
        self.host = FakeHost(*(lab_board(i) for i in range(boards)))
        self.memories = FakeMemories()
        self.bitstreams = FakeBitstreams()
        self.time = FakeTime()
        self._tasks: list[asyncio.Task[None]] = []
        self._start()

    def _start(self) -> None:
        self.commands = FakeCommands()
        seats = [Seat(board.lab, self.host, self.memories) for board in self.host.boards.values()]
        self.buses = {seat.board.key: BoardBus(seat, self.commands, self.time) for seat in seats}
        self.service = BusService(self.buses)
        self.programs = ProgramService(
            self.buses,
            site="lab",
            agent_id="agent-1",
            programmer=self.host,
            bitstreams=self.bitstreams,
            commands=self.commands,
            clock=self.time,
        )
        self.registration = Registration(seats, self.commands, agent_id="agent-1", incarnation=UUID(int=1))
        self.watches = [
            BoardWatch(bus, self.commands, "agent-1", self.registration.register) for bus in self.buses.values()
        ]
        self._tasks = [asyncio.ensure_future(bus.lane.run()) for bus in self.buses.values()]

    async def look(self) -> None:
        """What the agent does first."""
        await asyncio.gather(*(watch.start() for watch in self.watches))

    def watch(self) -> None:
        self._tasks += [asyncio.ensure_future(watch.run()) for watch in self.watches]

    async def again(self) -> None:
        await self.stop()
        self._start()
        await self.look()

    async def stop(self) -> None:
        for bus in self.buses.values():
            await bus.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def bus(self) -> BoardBus:
        return self.buses["bench-0"]

    @property
    def seat(self) -> Seat:
        return self.bus.seat

    @property
    def board(self) -> FakeBoard:
        return self.host.boards["bench-0"]

    def work(
        self,
        epoch: int,
        *,
        build_id: int = 0xABC,
        session: UUID | None = ALICE,
        board: int = 0,
        data: bytes | None = None,
    ) -> ProgramWork:
        data = fake_bitstream(build_id) if data is None else data
        bitstream = BitstreamRef(
            digest=self.bitstreams.put(data),
            size_bytes=len(data),
            build_key="k",
            build_id=build_id,
            profile=DEVICE,
            clk_hz=50_000_000,
            baud=12_500_000,
        )
        return ProgramWork(
            fpga_id=board,
            board_key=f"bench-{board}",
            epoch=epoch,
            correlation_id=UUID(int=9),
            bitstream=bitstream,
            deadline_at=self.time.now() + timedelta(seconds=60),
            session_id=session,
            session_ttl_s=60.0,
        )

    async def loading(self, count: int = 1) -> None:
        """Wait until this many loads are under way."""
        async with asyncio.timeout(5):
            while self.host.loading < count:  # noqa: ASYNC110 - the fake counts, it has no event
                await asyncio.sleep(0)

    async def program(self, work: ProgramWork, tries: int = 1) -> Outcome:
        return await self.programs.handle(work, tries=tries)

    def ask(
        self,
        verb: BusVerb,
        operation: Operation | bytes = b"",
        *,
        epoch: int = 1,
        session: UUID = ALICE,
        stream_id: str = "",
        request_id: str = "",
        key: str = "",
        board: int = 0,
    ) -> asyncio.Future[BusReply]:
        """Send a bus request; a future of its one reply."""
        lease = Lease(fpga_id=board, session_id=session, epoch=epoch)
        told = BusHeaders(verb=verb, lease=lease, stream_id=stream_id, request_id=request_id, key=key)
        headers = told.to_headers()
        frame = operation if isinstance(operation, bytes) else stream.encode_request(operation)
        future: asyncio.Future[BusReply] = asyncio.get_running_loop().create_future()

        async def answer(reply: BusReply) -> None:
            assert not future.done(), "a request was answered twice"
            future.set_result(reply)

        self.last = asyncio.ensure_future(self.service.handle(headers, frame, answer))
        return future

    async def exchange(self, operation: Operation | bytes, **changes: object) -> BusReply:
        return await self.ask(BusVerb.EXCHANGE, operation, **changes)  # type: ignore[arg-type]

    async def write(self, address: int, *words: int, **changes: object) -> BusReply:
        return await self.exchange(Write(address, list(words)), **changes)

    async def read(self, address: int, **changes: object) -> int:
        reply = await self.exchange(Read(address), **changes)
        words = stream.decode_reply(reply.frame)
        assert words is not None, reply
        return words[0]


@asynccontextmanager
async def rig(boards: int = 1) -> AsyncIterator[Rig]:
    """A rig whose agent has looked at its boards."""
    made = Rig(boards)
    await made.look()
    try:
        yield made
    finally:
        await made.stop()
