"""What the clients of a chaos run do, and what they were told: over NATS as services do, over HTTP as people do."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import nats.errors

from lutlab_events import commands as c
from lutlab_events.envelope import Answer
from lutlab_transport.clock import RandomIds, SystemClock
from lutlab_transport.commands import CommandClient, CommandUnanswered
from lutlab_transport.connection import connect

ROOT = Path(__file__).parents[2]
DESIGN = ROOT / "examples/mac/design.py"
"""Counts the pairs it is given: what a board was really told shows in it."""
PAIR, COUNT = 0x00, 0x10
"""Byte addresses of its registers."""
WRITE, READ = 1, 2
DECIDED = {200, 201, 202, 204, 400, 403, 404, 409, 422}
"""HTTP answers that are for good; everything else is asked again."""
OPEN = {"queued", "running"}
ROTATIONS = 20
LATER = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Told:
    """What clients were told.

    Attributes:
        http: HTTP answers that are for good, by Idempotency-Key.
        direct: answers over NATS, by command id.
        rotated: for each key made over NATS, how many rotations of it were accepted.
        labels: Idempotency-Key, and label, of each key made over HTTP -> its id.
        jobs: Idempotency-Key of each accepted submit -> its job.
        runs: jobs of runs on boards that were answered as carried out.
        unanswered: by the job that led to the session, how many writes may have been carried out or not.
        counted: what all reads of counters on boards said, added up.
        kinds: acknowledged commands by way and kind.
    """

    http: dict[str, tuple[int, Any]] = field(default_factory=dict)
    direct: dict[UUID, Answer] = field(default_factory=dict)
    rotated: dict[UUID, int] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    unanswered: Counter[str] = field(default_factory=Counter)
    counted: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def acknowledged(self) -> int:
        """Commands that were answered for good."""
        return len(self.http) + len(self.direct)


class Load:
    """Clients that go on until `over`."""

    def __init__(self, info: Callable[[], dict[str, Any]], rng: random.Random, told: Told) -> None:
        self._info = info
        self._rng = rng
        self._told = told
        self.over = False

    # -- over NATS, as the API does it ------------------------------------------------------------

    async def bulk(self, clients: int) -> None:
        """Keys that are issued, rotated and revoked: one event each; every tenth command is asked twice."""
        nc = await connect(self._info()["nats_url"], name="chaos")
        sender = CommandClient(nc, site="main", actor="chaos", clock=SystemClock(), ids=RandomIds())
        await sender.start()
        try:
            await asyncio.gather(*(self._bulk_client(sender, f"bulk{number}") for number in range(clients)))
        finally:
            await nc.close()

    async def _bulk_client(self, sender: CommandClient, owner: str) -> None:
        while not self.over:
            ident = uuid4()
            self._told.rotated[ident] = 0
            await self._command(sender, c.IssueKey(key_id=ident, key_sha256=uuid4().hex * 2, owner=owner))
            for _ in range(ROTATIONS):
                body = c.RotateKey(key_id=ident, key_sha256=uuid4().hex * 2, previous_until=LATER)
                if (await self._command(sender, body)).accepted:
                    self._told.rotated[ident] += 1
                if self.over:
                    return
            await self._command(sender, c.RevokeKey(key_id=ident))

    async def _command(self, sender: CommandClient, body: c.Command) -> Answer:
        ident = uuid4()
        answer = await self._until_answered(sender, body, ident)
        self._told.direct[ident] = answer
        self._told.kinds[f"NATS {type(body).__name__}"] += 1
        if self._rng.random() < 0.1 and await self._until_answered(sender, body, ident) != answer:
            self._told.problems.append(f"doubled: command {ident} was answered in two ways")
        return answer

    async def _until_answered(self, sender: CommandClient, body: c.Command, ident: UUID) -> Answer:
        while True:
            try:
                return await sender.request(body, timeout_s=10.0, command_id=ident)
            except (CommandUnanswered, nats.errors.Error):
                await asyncio.sleep(0.2)

    # -- over HTTP --------------------------------------------------------------------------------

    async def people(self, users: int, admins: int) -> None:
        """People with designs, and people who hand out keys."""
        info = self._info()
        headers = {"X-API-Key": info["api_key"]}
        async with httpx.AsyncClient(base_url=info["api_url"], headers=headers, timeout=20) as client:
            await asyncio.gather(
                *(self._person(client, f"user{number}") for number in range(users)),
                *(self._admin(client) for _ in range(admins)),
            )

    async def _person(self, admin: httpx.AsyncClient, owner: str) -> None:
        """Somebody with a key of their own, so that nobody else may use their boards."""
        label = uuid4().hex
        code, said = await self._ask(admin, "POST", "/auth/keys", key=label, json={"owner": owner, "label": label})
        assert code == 201, said
        headers = {"X-API-Key": said["api_key"]}
        mine: list[str] = []
        async with httpx.AsyncClient(base_url=admin.base_url, headers=headers, timeout=20) as client:
            while not self.over:
                await self._user(client, mine)

    async def build_once(self) -> None:
        """Build the design that everybody uses; from then on it comes from the cache."""
        info = self._info()
        headers = {"X-API-Key": info["api_key"]}
        async with httpx.AsyncClient(base_url=info["api_url"], headers=headers, timeout=20) as client:
            code, said = await self._ask(client, "POST", "/submit", files={"file": ("design.py", DESIGN.read_bytes())})
            assert code == 202, said
            while (job := await self._get(client, f"/jobs/{said['job_id']}")).get("status") in OPEN:  # noqa: ASYNC110
                await asyncio.sleep(0.5)
            assert job["status"] == "complete", job

    async def _admin(self, client: httpx.AsyncClient) -> None:
        while not self.over:
            label = uuid4().hex
            body = {"owner": "ada", "label": label}
            code, said = await self._ask(client, "POST", "/auth/keys", key=label, json=body)
            if code not in {200, 201}:
                continue
            self._told.labels[label] = said["key_id"]
            if self._rng.random() < 0.5:
                await self._ask(client, "DELETE", f"/api/v1/keys/{said['key_id']}")

    async def _user(self, client: httpx.AsyncClient, mine: list[str]) -> None:
        what = self._rng.random()
        if what < 0.6:
            await self._session(client, mine)
        elif what < 0.8 and mine:
            await self._ask(client, "DELETE", f"/jobs/{self._rng.choice(mine)}")
        else:
            await self._ask(client, "POST", f"/fpga/{self._rng.randint(0, 3)}/reset")

    async def _session(self, client: httpx.AsyncClient, mine: list[str]) -> None:
        """A design that was built before, so that it soon has a board; then what users do, or they lose patience."""
        key = uuid4().hex
        files = {"file": ("design.py", DESIGN.read_bytes())}
        code, said = await self._ask(client, "POST", "/submit", key=key, files=files)
        if code != 202:
            return
        job_id = str(said["job_id"])
        self._told.jobs[key] = job_id
        mine.append(job_id)
        job: dict[str, Any] = {}
        for _ in range(60):
            job = await self._get(client, f"/jobs/{job_id}")
            if job.get("status") not in OPEN or self.over:
                break
            await asyncio.sleep(0.5)
        if job.get("status") == "complete" and job.get("fpga_id") is not None:
            await self._use(client, job_id, int(job["fpga_id"]))
        elif self._rng.random() < 0.7:
            await self._ask(client, "DELETE", f"/jobs/{job_id}")

    async def _use(self, client: httpx.AsyncClient, job_id: str, fpga_id: int) -> None:
        """Count something on the board, look, and mostly give it back."""
        board = f"/fpga/{fpga_id}"
        for _ in range(self._rng.randint(1, 6)):
            if not await self._run(client, board, {"op": WRITE, "address": PAIR, "data": [0x00010001]}):
                self._told.unanswered[job_id] += 1
        await self._run(client, board, {"op": READ, "address": COUNT, "count": 1})
        if self._rng.random() < 0.8:
            await self._ask(client, "POST", f"{board}/session/release")

    async def _run(self, client: httpx.AsyncClient, board: str, body: dict[str, Any]) -> bool:
        """Ask once, for whoever asks again makes the board do it again; whether it was certainly carried out."""
        key = uuid4().hex
        with contextlib.suppress(httpx.HTTPError, ValueError):
            answer = await client.post(f"{board}/run", headers={"Idempotency-Key": key}, json=body)
            said = answer.json()
            if answer.status_code in DECIDED:
                self._note(key, "POST run", answer.status_code, said)
            if answer.is_success and said.get("status") == "complete":
                self._told.runs.append(said["job_id"])
                return True
        return False

    async def _get(self, client: httpx.AsyncClient, path: str) -> dict[str, Any]:
        with contextlib.suppress(httpx.HTTPError, ValueError):
            found: dict[str, Any] = (await client.get(path)).json()
            return found
        return {"status": "queued"}

    async def _ask(
        self, client: httpx.AsyncClient, method: str, path: str, *, key: str = "", **more: Any
    ) -> tuple[int, Any]:
        """Ask until there is an answer for good."""
        key = key or uuid4().hex
        while True:
            with contextlib.suppress(httpx.HTTPError, ValueError):
                answer = await client.request(method, path, headers={"Idempotency-Key": key}, **more)
                if answer.status_code in DECIDED:
                    said = answer.json() if answer.content else {}
                    if said.get("code") != "request_in_progress":
                        self._note(key, f"{method} {path.strip('/').split('/')[0]}", answer.status_code, said)
                        return answer.status_code, said
            await asyncio.sleep(0.3)

    def _note(self, key: str, kind: str, code: int, said: Any) -> None:
        self._told.http[key] = (code, said)
        self._told.kinds[f"HTTP {kind}"] += 1
