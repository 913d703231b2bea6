"""A bench for the agent: a real bitstream, virtual boards, the agent's process, and a scripted scheduler."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

import lutlab_profiles
from lutlab_bus import Operation, stream
from lutlab_events import codec, subjects
from lutlab_events.busmsg import BusHeaders, BusReply, BusVerb, Lease
from lutlab_events.commands import ReportProgrammed
from lutlab_events.envelope import CommandEnvelope
from lutlab_events.values import BitstreamRef
from lutlab_events.work import AgentHeartbeat, ProgramWork, RegistrationWanted
from lutlab_transport.blobs import BlobStore
from lutlab_transport.connection import connect
from lutlab_transport.streams import ensure_streams

PROFILE = lutlab_profiles.DEFAULT_PROFILE
WAIT_S = 30.0
T = TypeVar("T")

DESIGN = """\
// A memory of 512 words with a registered acknowledge.
module bench_memory(input clk, input rst, input wb_cyc, input wb_stb, input wb_we, input [8:0] wb_adr,
                    input [31:0] wb_dat_w, input [3:0] wb_sel, output reg [31:0] wb_dat_r, output reg wb_ack);
  reg [31:0] words [0:511];
  always @(posedge clk) begin
    wb_ack <= wb_cyc & wb_stb & ~wb_ack & ~rst;
    if (wb_cyc & wb_stb & wb_we & ~wb_ack) words[wb_adr] <= wb_dat_w;
    wb_dat_r <= words[wb_adr];
  end
endmodule
"""


@dataclass(frozen=True)
class Built:
    """A bitstream and the build id its design answers."""

    data: bytes
    build_id: int

    def ref(self, digest: str, *, build_id: int | None = None) -> BitstreamRef:
        profile = lutlab_profiles.get(PROFILE)
        return BitstreamRef(
            digest=digest,
            size_bytes=len(self.data),
            build_key=f"{self.build_id:08x}" + "0" * 56,
            build_id=self.build_id if build_id is None else build_id,
            profile=PROFILE,
            clk_hz=profile.clk_hz,
            baud=profile.clk_hz // profile.uart_divider,
        )


def build(folder: Path, profile: str = PROFILE) -> Built:
    """The bench's design by `lutlab-builder build`; the builder's own cache makes the second time quick."""
    (folder / "design.v").write_text(DESIGN)
    command = [sys.executable, "-m", "lutlab_builder", "build", str(folder / "design.v"), "--out", str(folder / "out")]
    done = subprocess.run(
        [*command, "--quiet", "--profile", profile], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    said = done.stdout + done.stderr
    build_id = int(said.rsplit("build ", 1)[1].split()[0], 16)
    return Built((folder / "out" / "design.bit").read_bytes(), build_id)


class VirtualBoard:
    """A `lutlab-virtual-board` process that keeps its port and its tty link across restarts."""

    def __init__(self, folder: Path, profile: str = PROFILE) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.tty = folder / "tty"
        self.port = 0
        self.bridge_port: int | None = None
        self._folder, self._profile = folder, profile
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        ready = self._folder / "ready.json"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "lutlab_virtual_board", "--profile", self._profile]
        command += ["--xvc-port", str(self.port), "--tty-link", str(self.tty), "--ready-file", str(ready)]
        with (self._folder / "board.log").open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log)
        deadline = time.monotonic() + WAIT_S
        while not ready.exists():
            assert self._process.poll() is None, (self._folder / "board.log").read_text()
            assert time.monotonic() < deadline, (self._folder / "board.log").read_text()
            time.sleep(0.02)
        self.port = json.loads(ready.read_text())["xvc_port"]

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Pull the plug."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.send(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


class AgentProcess:
    """The agent as it ships."""

    def __init__(self, folder: Path, nats_url: str, site: str, boards: dict[str, VirtualBoard]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "agent.log"
        lab = folder / "lab.toml"
        lab.write_text("".join(_section(key, board) for key, board in boards.items()))
        self._environment = os.environ | {
            "LUTLAB_SITE": site,
            "LUTLAB_NATS_URL": nats_url,
            "LUTLAB_AGENT_ID": "bench",
            "LUTLAB_AGENT_LAB_FILE": str(lab),
            "LUTLAB_AGENT_DATA_DIR": str(folder / "data"),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lutlab_board_agent"], env=self._environment, stderr=log
            )

    def kill(self) -> None:
        """As a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to stop; its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


def _section(key: str, board: VirtualBoard) -> str:
    bridge = "" if board.bridge_port is None else f"bridge_port = {board.bridge_port}\n"
    return (
        f'[[board]]\nkey = "{key}"\nprofile = "{PROFILE}"\nlabels = ["bench"]\n{bridge}'
        f'[board.cable]\nkind = "xvc-client"\nhost = "localhost"\nport = {board.port}\n'
        f'[board.serial]\npath = "{board.tty}"\n'
    )


class Scheduler:
    """Sends work and bus requests, and keeps the commands and heartbeats that arrive."""

    def __init__(self, nc: Client, site: str) -> None:
        self.nc, self.site = nc, site
        self.js = nc.jetstream()
        self.commands: list[CommandEnvelope] = []
        self.heartbeats: list[AgentHeartbeat] = []
        self._arrived = asyncio.Event()

    async def start(self) -> None:
        await ensure_streams(self.js)
        await self.listen()
        await self.nc.subscribe(subjects.heartbeats(self.site), cb=self._on_heartbeat)

    async def listen(self) -> None:
        """Take commands; once again after NATS was wiped."""
        await self.js.subscribe(f"cmd.{self.site}.>", stream="COMMANDS", durable=f"s-{self.site}", cb=self._on_command)

    async def _on_command(self, message: Msg) -> None:
        self.commands.append(codec.decode_command(message.data))
        self._arrived.set()

    async def _on_heartbeat(self, message: Msg) -> None:
        self.heartbeats.append(codec.decode_heartbeat(message.data))
        self._arrived.set()

    async def until(self, condition: Callable[[], T | None], what: str, wait_s: float = WAIT_S) -> T:
        """Wait for something among what arrived."""
        try:
            async with asyncio.timeout(wait_s):
                while True:
                    found = condition()
                    if found:
                        return found
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            seen = [str(envelope.body) for envelope in self.commands]
            raise AssertionError(f"no {what} within {wait_s} s; commands: {seen}") from None

    async def next(self, kind: type[T], wait_s: float = WAIT_S) -> T:
        """Take the first command of a kind off the list, waiting for it."""

        def take() -> CommandEnvelope | None:
            found = next((e for e in self.commands if isinstance(e.body, kind)), None)
            if found is not None:
                self.commands.remove(found)
            return found

        self.last = await self.until(take, kind.__name__, wait_s)
        assert isinstance(self.last.body, kind)
        return self.last.body

    async def put(self, data: bytes) -> str:
        return await BlobStore(self.js).put(data)

    async def publish(self, work: ProgramWork) -> None:
        await self.js.publish(subjects.agent_work(self.site, "bench"), codec.encode(work))

    async def want_registration(self) -> None:
        await self.nc.publish(
            subjects.agent_control(self.site, "bench"), codec.encode(RegistrationWanted(agent_id="bench"))
        )

    async def ask(
        self,
        verb: BusVerb,
        lease: Lease,
        operation: Operation | None = None,
        *,
        stream_id: str = "",
        timeout_s: float = 30,
    ) -> BusReply:
        headers = BusHeaders(verb=verb, lease=lease, stream_id=stream_id).to_headers()
        frame = b"" if operation is None else stream.encode_request(operation)
        message = await self.nc.request(subjects.bus(self.site, "bench"), frame, timeout=timeout_s, headers=headers)
        return BusReply.from_message(message.headers, message.data)

    async def exchange(self, lease: Lease, operation: Operation) -> BusReply:
        return await self.ask(BusVerb.EXCHANGE, lease, operation)

    async def nobody_answers(self, lease: Lease) -> None:
        """Ask until NATS knows that the agent is gone; until then it still passes requests to a dead process."""
        for _ in range(30):
            try:
                await self.ask(BusVerb.KEEP, lease, timeout_s=1)
            except nats.errors.NoRespondersError:
                return
            except nats.errors.TimeoutError:
                continue
        raise AssertionError("somebody answers for the killed agent")


def work(
    ref: BitstreamRef, epoch: int, session: UUID | None, *, key: str = "b0", fpga_id: int = 0, left_s: float = 60
) -> ProgramWork:
    return ProgramWork(
        fpga_id=fpga_id,
        board_key=key,
        epoch=epoch,
        correlation_id=uuid4(),
        bitstream=ref,
        deadline_at=datetime.now(UTC) + timedelta(seconds=left_s),
        session_id=session,
        session_ttl_s=60.0,
    )


@dataclass
class Bench:
    """Everything together: one agent with its boards, and the scheduler's side."""

    scheduler: Scheduler
    agent: AgentProcess
    boards: dict[str, VirtualBoard]
    built: Built
    digest: str = ""

    async def load(self, epoch: int, session: UUID | None, key: str = "b0") -> Lease | None:
        """Have the bench's design loaded; the session's lease."""
        self.digest = self.digest or await self.scheduler.put(self.built.data)
        number = int(key[1:])
        await self.scheduler.publish(work(self.built.ref(self.digest), epoch, session, key=key, fpga_id=number))
        report = await self.scheduler.next(ReportProgrammed)
        assert report == ReportProgrammed(fpga_id=number, epoch=epoch)
        return None if session is None else Lease(fpga_id=number, session_id=session, epoch=epoch)


@asynccontextmanager
async def bench(
    folder: Path, nats_url: str, built: Built, boards: dict[str, VirtualBoard], *, site: str | None = None
) -> AsyncIterator[Bench]:
    """A bench with a fresh agent; boards belong to the caller."""
    site = site or f"site-{uuid4().hex[:8]}"
    nc = await connect(nats_url, name="scripted scheduler")
    scheduler = Scheduler(nc, site)
    await scheduler.start()
    agent = AgentProcess(folder / "agent", nats_url, site, boards)
    try:
        yield Bench(scheduler, agent, boards, built)
    except BaseException:
        print(agent.log.read_text()[-6000:])
        raise
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            agent.stop()
        await nc.close()
