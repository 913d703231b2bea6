"""The load: users of the lab through one API process, each asking until it is answered."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
import nats.errors

from lutlab_bus import Write, stream
from lutlab_events import commands as c
from lutlab_events import subjects
from lutlab_events import verification as v
from lutlab_events.busmsg import BusHeaders, BusReply, BusStatus, BusVerb, Lease
from lutlab_events.envelope import Answer
from lutlab_events.ids import digest
from lutlab_events.rejections import Rejection
from lutlab_sim.boards import session_word
from lutlab_sim.hosts import SITE, Host, SeededIds
from lutlab_sim.loop import SimClock
from lutlab_transport.commands import CommandClient, CommandUnanswered

ASK_S = 3.0
BUS_S = 4.0


@dataclass(slots=True)
class Asked:
    """A command that a user sent, and every answer to it."""

    command_id: UUID
    body: c.Command
    fingerprint: str
    answers: list[Answer] = field(default_factory=list)


class ApiHost(Host):
    """Users, and the one process they talk to. It is never killed: users would only ask again."""

    def __init__(self, world: Any, users: int) -> None:
        super().__init__(world, "api")
        self._users = users
        self._rng = random.Random(world.rng.random())
        self._ids = SeededIds(self._rng)
        self._client: Any = None
        self._sender: Any = None
        self.asked: list[Asked] = []
        self.waiting = 0
        self._late: set[asyncio.Future[None]] = set()

    async def _main(self) -> None:
        self._client = self.connect()
        clock = SimClock(self.process)
        self._sender = CommandClient(self._client, site=SITE, actor="api", clock=clock, ids=self._ids)
        await self._sender.start()
        async with asyncio.TaskGroup() as group:
            for number in range(self._users):
                group.create_task(self._user(f"user{number}"))
        self.world.load_over.set()
        await asyncio.Event().wait()

    # -- asking -----------------------------------------------------------------------------------

    async def ask(self, body: c.Command, owner: str) -> Answer:
        """Until there is an answer; then perhaps again, and perhaps with something else under the same id."""
        asked = Asked(self._ids.new(), body, digest(repr(body).encode()))
        self.asked.append(asked)
        answer = await self._until_answered(asked, body, asked.fingerprint, owner)
        if self._rng.random() < 0.15:
            await self._pause(3.0)
            await self._until_answered(asked, body, asked.fingerprint, owner)
        if self._rng.random() < 0.05:
            other = await self._until_answered(None, body, "something else", owner, asked.command_id)
            if other.code != Rejection.IDEMPOTENCY_MISMATCH:
                self.world.fail(f"another request under the id {asked.command_id} was answered {other}")
        return answer

    async def _until_answered(
        self, asked: Asked | None, body: c.Command, fingerprint: str, owner: str, command_id: UUID | None = None
    ) -> Answer:
        ident = asked.command_id if asked else command_id
        self.waiting += 1
        try:
            while True:
                try:
                    answer: Answer = await self._sender.request(
                        body, timeout_s=ASK_S, command_id=ident, actor=owner, fingerprint=fingerprint
                    )
                except CommandUnanswered:
                    await asyncio.sleep(0.2)
                    continue
                if asked is not None:
                    asked.answers.append(answer)
                return answer
        finally:
            self.waiting -= 1

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self._rng.random())

    # -- what users do ----------------------------------------------------------------------------

    async def _user(self, owner: str) -> None:
        while asyncio.get_running_loop().time() < self.world.load_s:
            await self._pause(4.0)
            if self._rng.random() < 0.1:
                await self._mischief(owner)
            if self._rng.random() < 0.2:
                await self._check(owner)
            else:
                await self._job(owner)

    async def _job(self, owner: str) -> None:
        rng, world = self._rng, self.world
        job_id = self._ids.new()
        kind = rng.choices(["good", "bad", "slow"], [8, 1, 1])[0]
        source = f"{kind} {job_id}".encode()
        world.database.blobs[digest(source)] = source
        fpga_id = rng.randint(1, 5) if rng.random() < 0.3 else None
        submit = c.SubmitBuild(
            job_id=job_id, owner=owner, source_digest=digest(source), filename="design.v", fpga_id=fpga_id
        )
        answer = await self.ask(submit, owner)
        if answer.code == Rejection.FPGA_NOT_IDLE:
            # The refused job has left no trace, so its id is still free.
            answer = await self.ask(msgspec.structs.replace(submit, fpga_id=None), owner)
            if answer.code == Rejection.JOB_EXISTS:
                world.fail(f"job {job_id} was refused and exists nevertheless")
        if not answer.accepted:
            return
        if rng.random() < 0.2:
            await self._pause(4.0)
            await self.ask(c.CancelJob(job_id=job_id, owner=owner), owner)
        lease = await self._lease(job_id)
        if lease is not None:
            await self._use(owner, lease)

    async def _check(self, owner: str) -> None:
        """A project and a verification job on it, which perhaps is called off, or loses its project."""
        rng, project_id, job_id = self._rng, self._ids.new(), self._ids.new()
        created = v.CreateProject(
            project_id=project_id, owner=owner, name=str(project_id), top_module="t", target_pdk=""
        )
        await self.ask(created, owner)
        files = {"a.v": self._kept(f"file of {owner}".encode()), "b.v": self._kept(project_id.bytes)}
        await self.ask(v.UploadFiles(project_id=project_id, owner=owner, files=files), owner)
        manifest = self._kept(msgspec.json.encode(files))
        stages = ("lint", "formal")[: rng.randint(1, 2)]
        submit = v.SubmitVerification(
            job_id=job_id,
            project_id=project_id,
            owner=owner,
            stages=stages,
            files_digest=manifest.digest,
            files_bytes=manifest.size_bytes,
            seed=1,
        )
        await self.ask(submit, owner)
        await self._pause(6.0)
        if rng.random() < 0.2:
            await self.ask(v.CancelVerification(job_id=job_id, owner=owner), owner)
        if rng.random() < 0.2:
            await self.ask(v.DeleteProject(project_id=project_id, owner=owner), owner)

    def _kept(self, data: bytes) -> v.FileRef:
        """An upload, which is in Postgres before any command speaks of it."""
        name = digest(data)
        self.world.database.blobs[name] = data
        return v.FileRef(digest=name, size_bytes=len(data))

    async def _lease(self, job_id: UUID) -> Lease | None:
        """Wait for the job's end; what its board's row says of the session, as the API reads it."""
        for _ in range(60):
            row = self.world.database.views["jobs"].get(str(job_id), {})
            if row.get("status") in {"failed", "cancelled"}:
                return None
            if row.get("status") == "complete":
                board = self.world.database.views["boards"][str(row["fpga_id"])]
                if board["state"] == "reserved" and board["current_job_id"] == str(job_id):
                    return self._lease_of(board)
                return None
            await asyncio.sleep(0.5)
        return None

    def _lease_of(self, board: Any) -> Lease:
        return Lease(fpga_id=board["fpga_id"], session_id=UUID(board["session_id"]), epoch=board["epoch"])

    async def _use(self, owner: str, lease: Lease) -> None:
        rng = self._rng
        for _ in range(rng.randint(1, 4)):
            words = await self._write(lease)
            run = c.RecordRun(
                job_id=self._ids.new(),
                owner=owner,
                fpga_id=lease.fpga_id,
                session_id=lease.session_id,
                op=1,
                address_bytes=0,
                count=1,
                fixed_address=False,
                data=words,
            )
            if words:
                await self.ask(run, owner)
            await self._pause(2.0)
        what = rng.choices(["release", "reset", "forget"], [5, 2, 2])[0]
        job_id = self._ids.new()
        rogue = asyncio.ensure_future(self._go_on(lease)) if rng.random() < 0.7 else None
        if what == "release":
            await self.ask(c.ReleaseSession(job_id=job_id, owner=owner, fpga_id=lease.fpga_id), owner)
        elif what == "reset":
            await self.ask(c.ResetBoard(job_id=job_id, owner=owner, fpga_id=lease.fpga_id), owner)
        if rng.random() < 0.2:
            late = asyncio.ensure_future(self._report_late(lease))
            self._late.add(late)
            late.add_done_callback(self._late.discard)
        if rogue is not None:
            await rogue

    async def _report_late(self, lease: Lease) -> None:
        """What an agent that stood still says of a session once it goes on."""
        await self._pause(12.0)
        await self._sender.send(
            c.ReportSessionUsed(fpga_id=lease.fpga_id, session_id=lease.session_id, epoch=lease.epoch)
        )

    async def _go_on(self, lease: Lease) -> None:
        """Write under a lease that ends meanwhile."""
        for _ in range(self._rng.randint(3, 12)):
            await self._write(lease)
            await self._pause(1.0)

    async def _write(self, lease: Lease) -> tuple[int, ...]:
        """One word that names its lease; what was written, if it was."""
        word = session_word(self.world, lease)
        board = self.world.database.views["boards"][str(lease.fpga_id)]
        headers = BusHeaders(verb=BusVerb.EXCHANGE, lease=lease).to_headers()
        subject = subjects.bus(SITE, board["agent_id"])
        try:
            reply = await self._client.request(subject, stream.encode_request(Write(0, [word])), BUS_S, headers)
            status = BusReply.from_message(reply.headers, reply.data).status
        except nats.errors.Error:
            return ()
        return (word,) if status is BusStatus.OK else ()

    async def _mischief(self, owner: str) -> None:
        """Commands about things that are not there or not theirs."""
        ghost = self._ids.new()
        body = self._rng.choice(
            [
                c.CancelJob(job_id=ghost, owner=owner),
                c.ReleaseSession(job_id=ghost, owner=owner, fpga_id=self._rng.randint(1, 9)),
                c.ResetBoard(job_id=ghost, owner=owner, fpga_id=self._rng.randint(1, 4)),
                c.RevokeKey(key_id=ghost),
            ]
        )
        await self.ask(body, owner)
