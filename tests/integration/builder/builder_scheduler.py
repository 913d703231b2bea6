"""A scripted scheduler on a real NATS server, and a builder that serves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from builder_support import PROFILE
from nats.aio.client import Client
from nats.aio.msg import Msg

from lutlab_builder.__main__ import Room, serve
from lutlab_builder.settings import Settings
from lutlab_events import codec, subjects
from lutlab_events.envelope import Answer
from lutlab_events.work import BuildWork, LogChunk
from lutlab_transport.blobs import BlobStore
from lutlab_transport.connection import connect
from lutlab_transport.streams import ensure_streams

SITE = "builder-test"


class Scheduler:
    """Hears commands and logs, and answers the ones that ask."""

    def __init__(self, nc: Client) -> None:
        self.nc = nc
        self.js = nc.jetstream()
        self.heard: list[Any] = []
        self.chunks: list[LogChunk] = []
        self.refuse: set[UUID] = set()
        self._news = asyncio.Condition()

    async def start(self) -> None:
        await ensure_streams(self.js)
        await self.js.subscribe(f"cmd.{SITE}.>", durable="test-scheduler", cb=self._on_command)
        await self.js.subscribe(f"log.{SITE}.>", durable="test-logs", cb=self._on_log)

    async def _on_command(self, message: Msg) -> None:
        envelope = codec.decode_command(message.data)
        stale = getattr(envelope.body, "job_id", None) in self.refuse
        if envelope.reply_to:
            answer = Answer(command_id=envelope.command_id, code="stale_attempt" if stale else "ok")
            await self.nc.publish(envelope.reply_to, codec.encode(answer))
        await self._tell(self.heard, envelope.body)

    async def _on_log(self, message: Msg) -> None:
        await self._tell(self.chunks, codec.decode_log_chunk(message.data))

    async def _tell(self, where: list[Any], what: Any) -> None:
        async with self._news:
            where.append(what)
            self._news.notify_all()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 40) -> None:
        async with asyncio.timeout(timeout_s), self._news:
            await self._news.wait_for(condition)

    def about(self, job: UUID) -> list[Any]:
        return [body for body in self.heard if getattr(body, "job_id", None) == job]

    def lines(self, job: UUID) -> list[str]:
        chunks = sorted((chunk for chunk in self.chunks if chunk.job_id == job), key=lambda chunk: chunk.seq)
        return [line for chunk in chunks for line in chunk.lines]

    async def order(self, source: bytes, filename: str, **options: Any) -> UUID:
        job = uuid4()
        digest = await BlobStore(self.js).put(source)
        work = BuildWork(
            job_id=job,
            attempt=1,
            correlation_id=job,
            source_digest=digest,
            filename=filename,
            profile=PROFILE,
            **options,
        )
        await self.js.publish(subjects.build_work(SITE), codec.encode(work))
        return job

    async def work_left(self) -> int:
        return (await self.js.stream_info(subjects.WORK.name)).state.messages

    async def until_no_work_is_left(self) -> None:
        async with asyncio.timeout(20):
            while await self.work_left():  # noqa: ASYNC110 - the server does not tell when a queue is empty
                await asyncio.sleep(0.05)


@asynccontextmanager
async def running_builder(nats_url: str, room: Room, settings: Settings) -> AsyncIterator[None]:
    stop, lost = asyncio.Event(), asyncio.Event()
    client = await connect(nats_url, name="builder", reconnected=lost.set)
    chosen = settings.model_copy(update={"site": SITE, "profiles": PROFILE, "concurrency": 1})
    task = asyncio.create_task(serve(client, room, chosen, stop, lost))
    try:
        yield
    finally:
        stop.set()
        await task
        await client.close()
